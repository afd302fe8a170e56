// The runtime API: streams, events, capture, graphs.
#include "state.h"

using namespace fakecuda;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
    return runtime_call("cudaStreamCreate",
                        [&] { return cuStreamCreate(stream, CU_STREAM_DEFAULT); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    return runtime_call("cudaStreamCreateWithFlags",
                        [&] { return cuStreamCreate(stream, flags); });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority) {
    return runtime_call("cudaStreamCreateWithPriority", [&] {
        return cuStreamCreateWithPriority(stream, flags, priority);
    });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return runtime_call("cudaStreamDestroy", [&] { return cuStreamDestroy(stream); });
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned *flags) {
    return runtime_call("cudaStreamGetFlags", [&] { return cuStreamGetFlags(stream, flags); });
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) {
    return runtime_call("cudaStreamGetPriority",
                        [&] { return cuStreamGetPriority(stream, priority); });
}

cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long *id) {
    return runtime_call("cudaStreamGetId", [&] { return cuStreamGetId(stream, id); });
}

cudaError_t cudaStreamGetDevice(cudaStream_t stream, int *device) {
    return runtime_call("cudaStreamGetDevice", [&] { return cuStreamGetDevice(stream, device); });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return runtime_call("cudaStreamSynchronize", [&] { return cuStreamSynchronize(stream); });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return runtime_call("cudaStreamQuery", [&] { return cuStreamQuery(stream); });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    return runtime_call("cudaStreamWaitEvent",
                        [&] { return cuStreamWaitEvent(stream, event, flags); });
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback,
                                  void *argument, unsigned flags) {
    return runtime_call("cudaStreamAddCallback", [&] {
        // Both kinds of callback take a stream, a number and a pointer.
        return cuStreamAddCallback(stream, reinterpret_cast<CUstreamCallback>(callback), argument,
                                   flags);
    });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *argument) {
    return runtime_call("cudaLaunchHostFunc",
                        [&] { return cuLaunchHostFunc(stream, function, argument); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    return runtime_call("cudaEventCreateWithFlags", [&] { return cuEventCreate(event, flags); });
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    return runtime_call("cudaEventCreate", [&] { return cuEventCreate(event, CU_EVENT_DEFAULT); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return runtime_call("cudaEventDestroy", [&] { return cuEventDestroy(event); });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return runtime_call("cudaEventRecord", [&] { return cuEventRecord(event, stream); });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    return runtime_call("cudaEventRecordWithFlags",
                        [&] { return cuEventRecordWithFlags(event, stream, flags); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    return runtime_call("cudaEventQuery", [&] { return cuEventQuery(event); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return runtime_call("cudaEventSynchronize", [&] { return cuEventSynchronize(event); });
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    return runtime_call("cudaEventElapsedTime",
                        [&] { return cuEventElapsedTime(milliseconds, start, end); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    return runtime_call("cudaStreamBeginCapture", [&] {
        return cuStreamBeginCapture(stream, static_cast<CUstreamCaptureMode>(mode));
    });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    return runtime_call("cudaStreamEndCapture", [&] { return cuStreamEndCapture(stream, graph); });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status) {
    return runtime_call("cudaStreamIsCapturing", [&] {
        return cuStreamIsCapturing(stream, reinterpret_cast<CUstreamCaptureStatus *>(status));
    });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode *mode) {
    return runtime_call("cudaThreadExchangeStreamCaptureMode", [&] {
        return cuThreadExchangeStreamCaptureMode(reinterpret_cast<CUstreamCaptureMode *>(mode));
    });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *executable, cudaGraph_t graph,
                                 unsigned long long flags) {
    return runtime_call("cudaGraphInstantiate", [&] {
        return cuGraphInstantiateWithFlags(executable, graph, flags);
    });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *executable, cudaGraph_t graph,
                                          unsigned long long flags) {
    return runtime_call("cudaGraphInstantiateWithFlags", [&] {
        return cuGraphInstantiateWithFlags(executable, graph, flags);
    });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    return runtime_call("cudaGraphLaunch", [&] { return cuGraphLaunch(executable, stream); });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
    return runtime_call("cudaGraphUpload", [&] { return cuGraphUpload(executable, stream); });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return runtime_call("cudaGraphDestroy", [&] { return cuGraphDestroy(graph); });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    return runtime_call("cudaGraphExecDestroy", [&] { return cuGraphExecDestroy(executable); });
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t executable, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo *information) {
    return runtime_call("cudaGraphExecUpdate", [&] {
        if (information == nullptr) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        CUgraphExecUpdateResultInfo result{};
        const CUresult status = cuGraphExecUpdate(executable, graph, &result);
        *information = {.result = static_cast<cudaGraphExecUpdateResult>(result.result),
                        .errorNode = result.errorNode, .errorFromNode = result.errorFromNode};
        return status;
    });
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t executable, cudaGraphNode_t node,
                                             const cudaKernelNodeParams *parameters) {
    return runtime_call("cudaGraphExecKernelNodeSetParams", [&] {
        if (parameters == nullptr) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        CUDA_KERNEL_NODE_PARAMS wanted{};
        wanted.func = static_cast<CUfunction>(parameters->func);
        wanted.gridDimX = parameters->gridDim.x;
        wanted.gridDimY = parameters->gridDim.y;
        wanted.gridDimZ = parameters->gridDim.z;
        wanted.blockDimX = parameters->blockDim.x;
        wanted.blockDimY = parameters->blockDim.y;
        wanted.blockDimZ = parameters->blockDim.z;
        wanted.sharedMemBytes = parameters->sharedMemBytes;
        wanted.kernelParams = parameters->kernelParams;
        wanted.extra = parameters->extra;
        return cuGraphExecKernelNodeSetParams(executable, node, &wanted);
    });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *number) {
    return runtime_call("cudaGraphGetNodes", [&] { return cuGraphGetNodes(graph, nodes, number); });
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType *type) {
    return runtime_call("cudaGraphNodeGetType", [&] {
        return cuGraphNodeGetType(node, reinterpret_cast<CUgraphNodeType *>(type));
    });
}

cudaError_t cudaGraphDebugDotPrint(cudaGraph_t graph, const char *path, unsigned flags) {
    return runtime_call("cudaGraphDebugDotPrint",
                        [&] { return cuGraphDebugDotPrint(graph, path, flags); });
}

}  // extern "C"
