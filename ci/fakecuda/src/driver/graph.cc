#include "graph.h"

#include <set>

#include "capture.h"
#include "counters.h"

namespace fakecuda {

namespace {

std::vector<std::vector<size_t>> dependencies(const Graph &graph) {
    std::vector<std::vector<size_t>> after;
    for (const auto &node : graph.nodes) {
        std::vector<size_t> indices;
        for (const CUgraphNode_st *earlier : node->after) {
            indices.push_back(earlier->index);
        }
        std::ranges::sort(indices);
        after.push_back(std::move(indices));
    }
    return after;
}

// An order that the dependencies allow. In lazy mode the latest node that may run does, so that
// branches which nothing orders run in another order than they were captured in.
std::vector<size_t> execution_order(const std::vector<std::vector<size_t>> &after) {
    std::vector<std::vector<size_t>> before(after.size());
    std::vector<size_t> missing(after.size()), order;
    std::set<size_t> ready;
    for (size_t node = 0; node < after.size(); node++) {
        missing[node] = after[node].size();
        for (size_t earlier : after[node]) {
            before[earlier].push_back(node);
        }
        if (missing[node] == 0) {
            ready.insert(node);
        }
    }
    while (!ready.empty()) {
        auto next = lazy() ? std::prev(ready.end()) : ready.begin();
        const size_t node = *next;
        ready.erase(next);
        order.push_back(node);
        for (size_t later : before[node]) {
            if (--missing[later] == 0) {
                ready.insert(later);
            }
        }
    }
    return order;
}

const char *type_name(CUgraphNodeType type) {
    switch (type) {
        case CU_GRAPH_NODE_TYPE_KERNEL: return "KERNEL";
        case CU_GRAPH_NODE_TYPE_MEMCPY: return "MEMCPY";
        case CU_GRAPH_NODE_TYPE_MEMSET: return "MEMSET";
        case CU_GRAPH_NODE_TYPE_HOST: return "HOST";
        default: return "EMPTY";
    }
}

}  // namespace

Handles<Graph> &graphs() {
    static auto &handles = *new Handles<Graph>;
    return handles;
}

Handles<ExecutableGraph> &executable_graphs() {
    static auto &handles = *new Handles<ExecutableGraph>;
    return handles;
}

std::shared_ptr<ExecutableGraph> instantiate(const Graph &graph, Context &context) {
    auto executable = std::make_shared<ExecutableGraph>();
    executable->context = &context;
    executable->after = dependencies(graph);
    executable->order = execution_order(executable->after);
    for (const auto &node : graph.nodes) {
        executable->operations.push_back(node->operation);
        executable->nodes.push_back(node.get());
    }
    return executable;
}

void launch(const std::shared_ptr<ExecutableGraph> &executable, const StreamPointer &stream) {
    if (stream->capture) {
        invalidate(*stream->capture, CUDA_ERROR_NOT_SUPPORTED,
                   "a graph inside a graph is not in the stand-in");
    }
    check_failure(*stream->context);
    static Counter &launches = launch_counter("graph");
    launches++;
    if (logging()) {
        log(format("graph of %zu nodes", executable->operations.size()));
    }
    std::vector<Moment> after;
    if (executable->last.stream) {
        after.push_back(executable->last);
    }
    for (size_t node : executable->order) {
        Task task;
        if (prepare(executable->operations[node], task)) {
            task.after = std::move(after);
            after.clear();
            executable->last = put(stream, std::move(task));
        }
    }
}

UpdateResult update(ExecutableGraph &executable, const Graph &graph) {
    const size_t number = executable.operations.size();
    if (graph.nodes.size() != number || dependencies(graph) != executable.after) {
        return {CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED, nullptr,
                format("the graph has %zu nodes or other dependencies than the %zu that were "
                       "instantiated",
                       graph.nodes.size(), number)};
    }
    for (const auto &node : graph.nodes) {
        const Operation &old = *executable.operations[node->index];
        if (node->operation->type() != old.type()) {
            return {CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED, node.get(),
                    old.describe() + " became " + node->operation->describe()};
        }
        if (std::string reason = old.differs(*node->operation); !reason.empty()) {
            return {CU_GRAPH_EXEC_UPDATE_ERROR_PARAMETERS_CHANGED, node.get(), reason};
        }
    }
    for (const auto &node : graph.nodes) {
        executable.operations[node->index] = node->operation;
        executable.nodes[node->index] = node.get();
    }
    return {};
}

std::string dot(const Graph &graph) {
    std::string text =
        "digraph dot {\nsubgraph cluster_1 {\nlabel=\"graph_1\" graph[style=\"dashed\"];\n";
    for (const auto &node : graph.nodes) {
        text += format("\"graph_1_node_%zu\"[style=\"bold\" shape=\"box\" ", node->index);
        text += format("label=\"%zu\\n%s\\n%s\"];\n", node->index,
                       type_name(node->operation->type()),
                       node->operation->describe().c_str());
    }
    for (const auto &node : graph.nodes) {
        for (const CUgraphNode_st *earlier : node->after) {
            text += format("\"graph_1_node_%zu\" -> \"graph_1_node_%zu\";\n", earlier->index,
                           node->index);
        }
    }
    return text + "}\n}\n";
}

}  // namespace fakecuda
