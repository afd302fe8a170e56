// cuGraphInstantiate and the like.
#include <fstream>

#include "capture.h"
#include "graph.h"
#include "launch.h"

namespace fakecuda {

namespace {

CUgraphNode check_node(CUgraphNode node) {
    const bool live = graphs().any([&](const Graph &graph) {
        return std::ranges::any_of(graph.nodes, [&](const auto &own) { return own.get() == node; });
    });
    if (!live) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    std::string(api_name()) + ": not a node of a graph");
    }
    return node;
}

const KernelLaunch &kernel_of(CUgraphNode node) {
    const auto *launch = dynamic_cast<const KernelLaunch *>(check_node(node)->operation.get());
    if (launch == nullptr) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    std::string(api_name()) + ": the node is no kernel but " +
                        node->operation->describe());
    }
    return *launch;
}

void set_kernel_parameters(ExecutableGraph &executable, CUgraphNode node,
                           const CUDA_KERNEL_NODE_PARAMS &parameters) {
    kernel_of(node);
    auto found = std::ranges::find(executable.nodes, node);
    if (found == executable.nodes.end()) {
        throw Fault(CUDA_ERROR_INVALID_VALUE,
                    std::string(api_name()) + ": the node is of another graph");
    }
    const auto &p = parameters;
    const LaunchSize size{{p.gridDimX, p.gridDimY, p.gridDimZ},
                          {p.blockDimX, p.blockDimY, p.blockDimZ},
                          p.sharedMemBytes};
    auto launch = std::make_shared<KernelLaunch>(p.func, size, p.kernelParams, p.extra);
    OperationPointer &operation = executable.operations[found - executable.nodes.begin()];
    if (std::string reason = operation->differs(*launch); !reason.empty()) {
        throw Fault(CUDA_ERROR_INVALID_VALUE, std::string(api_name()) + ": " + reason);
    }
    operation = std::move(launch);
}

// Copies as many as fit, and says how many there are.
template <typename Value>
void give(const std::vector<Value> &values, Value *out, size_t *number) {
    check_pointer(number, "number");
    if (out != nullptr) {
        std::copy_n(values.begin(), std::min(*number, values.size()), out);
    }
    *number = values.size();
}

}  // namespace

}  // namespace fakecuda

using namespace fakecuda;

extern "C" {

CUresult cuGraphInstantiateWithFlags(CUgraphExec *executable, CUgraph graph,
                                     unsigned long long flags) {
    return driver_call("cuGraphInstantiate", Needs::context, [&] {
        check_pointer(executable, "phGraphExec");
        if (flags != 0 && flags != CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD &&
            flags != CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH) {
            throw Fault(CUDA_ERROR_NOT_SUPPORTED,
                        format("%s: flags %llu are not in the stand-in", api_name(), flags));
        }
        *executable = executable_graphs().add(
            instantiate(*graphs().get(graph, "graph"), current_context()));
    });
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    return driver_call("cuGraphLaunch", Needs::context, [&] {
        launch(executable_graphs().get(executable, "instantiated graph"), stream_for_work(stream));
    });
}

CUresult cuGraphUpload(CUgraphExec executable, CUstream stream) {
    return driver_call("cuGraphUpload", Needs::context, [&] {
        executable_graphs().get(executable, "instantiated graph");
        stream_for_work(stream);
    });
}

CUresult cuGraphDestroy(CUgraph graph) {
    return driver_call("cuGraphDestroy", Needs::driver, [&] { graphs().remove(graph, "graph"); });
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
    return driver_call("cuGraphExecDestroy", Needs::driver, [&] {
        executable_graphs().remove(executable, "instantiated graph");
    });
}

CUresult cuGraphExecUpdate(CUgraphExec executable, CUgraph graph,
                           CUgraphExecUpdateResultInfo *information) {
    return driver_call("cuGraphExecUpdate", Needs::context, [&] {
        check_pointer(information, "resultInfo");
        const UpdateResult result =
            update(*executable_graphs().get(executable, "instantiated graph"),
                   *graphs().get(graph, "graph"));
        *information = {.result = result.result, .errorNode = result.node,
                        .errorFromNode = nullptr};
        if (result.result != CU_GRAPH_EXEC_UPDATE_SUCCESS) {
            throw Fault(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
                        std::string(api_name()) + ": " + result.reason);
        }
    });
}

CUresult cuGraphGetNodes(CUgraph handle, CUgraphNode *nodes, size_t *number) {
    return driver_call("cuGraphGetNodes", Needs::driver, [&] {
        std::vector<CUgraphNode> all;
        for (const auto &node : graphs().get(handle, "graph")->nodes) {
            all.push_back(node.get());
        }
        give(all, nodes, number);
    });
}

CUresult cuGraphGetEdges(CUgraph handle, CUgraphNode *from, CUgraphNode *to, size_t *number) {
    return driver_call("cuGraphGetEdges", Needs::driver, [&] {
        check_pointer(number, "numEdges");
        std::vector<CUgraphNode> sources, targets;
        for (const auto &node : graphs().get(handle, "graph")->nodes) {
            for (CUgraphNode earlier : node->after) {
                sources.push_back(earlier);
                targets.push_back(node.get());
            }
        }
        size_t room = *number;
        give(sources, from, number);
        give(targets, to, &room);
    });
}

CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type) {
    return driver_call("cuGraphNodeGetType", Needs::driver, [&] {
        check_pointer(type, "type");
        *type = check_node(node)->operation->type();
    });
}

CUresult cuGraphKernelNodeGetParams(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS *parameters) {
    return driver_call("cuGraphKernelNodeGetParams", Needs::driver, [&] {
        check_pointer(parameters, "nodeParams");
        const KernelLaunch &launch = kernel_of(node);
        const LaunchSize &size = launch.extents();
        *parameters = {};
        parameters->func = launch.handle();
        parameters->gridDimX = size.grid.x;
        parameters->gridDimY = size.grid.y;
        parameters->gridDimZ = size.grid.z;
        parameters->blockDimX = size.block.x;
        parameters->blockDimY = size.block.y;
        parameters->blockDimZ = size.block.z;
        parameters->sharedMemBytes = static_cast<unsigned>(size.dynamic_shared);
        parameters->kernelParams = launch.parameters();
    });
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec executable, CUgraphNode node,
                                        const CUDA_KERNEL_NODE_PARAMS *parameters) {
    return driver_call("cuGraphExecKernelNodeSetParams", Needs::context, [&] {
        check_pointer(parameters, "nodeParams");
        set_kernel_parameters(*executable_graphs().get(executable, "instantiated graph"), node,
                              *parameters);
    });
}

CUresult cuGraphDebugDotPrint(CUgraph handle, const char *path, unsigned) {
    return driver_call("cuGraphDebugDotPrint", Needs::driver, [&] {
        check_pointer(path, "path");
        std::ofstream file(path);
        file << dot(*graphs().get(handle, "graph"));
        if (!file) {
            throw Fault(CUDA_ERROR_OPERATING_SYSTEM,
                        format("%s: can't write %s", api_name(), path));
        }
    });
}

}  // extern "C"
