// Graphs: operations with their dependencies, which a launch puts on a stream all together.
#pragma once

#include "streams.h"

struct CUgraphNode_st {
    fakecuda::OperationPointer operation;
    std::vector<CUgraphNode_st *> after;  // earlier nodes of the same graph
    CUgraph_st *graph = nullptr;
    size_t index = 0;
};

struct CUgraph_st {
    std::vector<std::unique_ptr<CUgraphNode_st>> nodes;  // in the order of capture
};

struct CUgraphExec_st {
    fakecuda::Context *context = nullptr;
    std::vector<fakecuda::OperationPointer> operations;
    std::vector<std::vector<size_t>> after;
    std::vector<size_t> order;             // that in which a launch runs them
    std::vector<const CUgraphNode_st *> nodes;  // of the graph that it came from
    fakecuda::Moment last;                 // launches of one graph do not overlap
};

namespace fakecuda {

using Graph = CUgraph_st;
using GraphPointer = std::shared_ptr<Graph>;
using ExecutableGraph = CUgraphExec_st;

Handles<Graph> &graphs();
Handles<ExecutableGraph> &executable_graphs();

std::shared_ptr<ExecutableGraph> instantiate(const Graph &graph, Context &context);
void launch(const std::shared_ptr<ExecutableGraph> &executable, const StreamPointer &stream);

// The node that stands in the way of an update, and why; no reason where the update was made.
struct UpdateResult {
    CUgraphExecUpdateResult result = CU_GRAPH_EXEC_UPDATE_SUCCESS;
    CUgraphNode_st *node = nullptr;
    std::string reason;
};
UpdateResult update(ExecutableGraph &executable, const Graph &graph);

std::string dot(const Graph &graph);  // the graph as Graphviz draws it

}  // namespace fakecuda
