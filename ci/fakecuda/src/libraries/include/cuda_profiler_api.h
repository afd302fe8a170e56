// The two functions of CUDA's profiler API, whose header the runtime's wheel does not have.
#pragma once

#include <cuda_runtime_api.h>

extern "C" cudaError_t cudaProfilerStart(void);
extern "C" cudaError_t cudaProfilerStop(void);
