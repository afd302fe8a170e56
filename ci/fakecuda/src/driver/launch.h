// Launches of kernels as operations of streams.
#pragma once

#include "modules.h"
#include "streams.h"

namespace fakecuda {

struct LaunchSize {
    ptx::Dim grid, block;
    size_t dynamic_shared = 0;
};

class KernelLaunch : public Operation {
public:
    // Copies the parameters. Fault if a limit of the device or of the function does not hold.
    KernelLaunch(Function *function, const LaunchSize &size, void **parameters, void **extra);

    CUgraphNodeType type() const override { return CU_GRAPH_NODE_TYPE_KERNEL; }
    std::string describe() const override { return function->entry->name; }
    void count() const override;
    void run() const override;
    bool dropped_when_idle() const override { return true; }
    std::string differs(const Operation &other) const override;

    const Context &context() const { return *module->context; }
    CUfunction handle() const { return function; }
    const LaunchSize &extents() const { return size; }
    void **parameters() const { return pointers.get(); }

private:
    ModulePointer module;
    Function *function;
    LaunchSize size;
    std::unique_ptr<uint8_t[]> values;
    std::unique_ptr<void *[]> pointers;  // to each value
};

}  // namespace fakecuda
