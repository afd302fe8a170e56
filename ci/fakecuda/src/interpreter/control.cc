// Branches, calls and ends.
#include "form.h"
#include "lanes.h"
#include "runtime.h"

namespace ptx {
namespace {

void branch(Warp &warp, const Instruction &in) { warp.branch(warp.active, in.target); }

void branch_by_table(Warp &warp, const Instruction &in) {
    const auto &table = warp.machine->code->branch_tables[in.target];
    const uint32_t *index = warp.row<uint32_t>(in.from[0]);
    each_lane(warp.active, [&](unsigned lane) {
        if (index[lane] >= table.size())
            warp.fault(719, lane, "the index " + std::to_string(index[lane]) +
                                      " is beyond the table of branches");
        warp.leave_group(1u << lane, table[index[lane]], warp.frame);
    });
}

void copy_frames(Warp &warp, uint32_t from_frame, uint32_t to_frame, unsigned lane,
                 const std::vector<CallCopy> &copies) {
    for (const CallCopy &copy : copies) {
        size_t from = from_frame + copy.from, to = to_frame + copy.to;
        std::memcpy(warp.local_of(lane) + to, warp.local_of(lane) + from, copy.bytes);
        if (!warp.local_written) continue;
        uint8_t *marks = warp.local_written + lane * warp.local_stride;
        std::memcpy(marks + to, marks + from, copy.bytes);
    }
}

void call(Warp &warp, const Instruction &in) {
    Machine &machine = *warp.machine;
    const Call &call = machine.code->calls[in.target];
    Frame frame = warp.frame;
    frame.registers += call.caller->register_bytes;
    frame.index += call.caller->registers;
    frame.local += call.caller->local_bytes;
    frame.depth++;
    unsigned first = static_cast<unsigned>(std::countr_zero(warp.active));
    bool fits =
        frame.registers + call.callee->register_bytes <= machine.function->stack_registers &&
        frame.index + call.callee->registers <= machine.function->stack_indices &&
        frame.local + call.callee->local_bytes <= machine.function->stack_local;
    if (!fits) warp.fault(719, first, "the stack overflows: functions call each other too deeply");
    if (warp.stack.size() < frame.depth) warp.stack.resize(frame.depth);
    uint32_t lanes_called = warp.active;
    warp.calls = true;
    warp.enter(lanes_called, frame, *call.callee);
    each_lane(lanes_called, [&](unsigned lane) {
        copy_frames(warp, warp.frame.local, frame.local, lane, call.arguments);
        warp.stack[frame.depth - 1][lane] = {warp.pc, warp.frame, &call};
    });
    warp.leave_group(lanes_called, call.callee->begin, frame);
}

void exit(Warp &warp, const Instruction &) { warp.end(warp.active); }

void return_to_caller(Warp &warp, const Instruction &in) {
    if (warp.frame.depth == 0) return exit(warp, in);
    each_lane(warp.active, [&](unsigned lane) {
        const Return &back = warp.stack[warp.frame.depth - 1][lane];
        copy_frames(warp, warp.frame.local, back.frame.local, lane, back.call->results);
        warp.leave_group(1u << lane, back.pc, back.frame);
    });
}

void trap(Warp &warp, const Instruction &) {
    warp.fault(719, static_cast<unsigned>(std::countr_zero(warp.active)), "it traps");
}

// ---------------------------------------------------------------- decoders

uint32_t next_instruction(Form &form) {
    return static_cast<uint32_t>(form.decoding().code.instructions.size());
}

const Symbol &label(Form &form, std::string_view name) {
    Symbol &symbol = form.needed_symbol(name);
    if (symbol.kind != Symbol::label) form.refuse("'" + std::string(name) + "' is not a label");
    return symbol;
}

void decode_bra(Form &form) {
    form.take("uni");
    const Symbol &target = label(form, form.next().text);
    form.decoding().branches.emplace_back(next_instruction(form), &target);
    form.emit(branch);
}

void decode_brx(Form &form) {
    form.needed({"idx"});
    form.take("uni");
    form.from(Type::u32);
    Symbol &targets = form.needed_symbol(form.next().text);
    if (targets.kind != Symbol::targets) form.refuse("a list of branch targets is expected");
    auto &tables = form.decoding().code.branch_tables;
    form.in.target = static_cast<uint32_t>(tables.size());
    form.in.consumes = 1;
    tables.emplace_back();
    for (std::string_view name : targets.names)
        form.decoding().tables.emplace_back(form.in.target, &label(form, name));
    form.emit(branch_by_table);
}

// The variables of the caller that hold arguments or results.
std::vector<const Symbol *> variables(Form &form, const OperandSyntax &list) {
    std::vector<const Symbol *> result;
    for (const OperandSyntax &element : list.elements) {
        if (element.kind != OperandSyntax::name) form.refuse("arguments are .param variables");
        Symbol &symbol = form.needed_symbol(element.text);
        bool fits = symbol.kind == Symbol::variable && symbol.space == Space::parameter &&
                    !symbol.entry_parameter;
        if (!fits) form.refuse("arguments are .param variables");
        result.push_back(&symbol);
    }
    return result;
}

std::vector<CallCopy> copies(Form &form, const std::vector<const Symbol *> &from,
                             const std::vector<const Symbol *> &to) {
    if (from.size() != to.size()) form.refuse("another number of arguments or results");
    std::vector<CallCopy> result;
    for (size_t i = 0; i < from.size(); i++) {
        if (from[i]->size != to[i]->size) form.refuse("an argument or result of another size");
        result.push_back({static_cast<uint32_t>(from[i]->address),
                          static_cast<uint32_t>(to[i]->address),
                          static_cast<uint32_t>(to[i]->size)});
    }
    return result;
}

std::vector<const Symbol *> constant(const std::vector<Symbol *> &symbols) {
    return {symbols.begin(), symbols.end()};
}

void decode_call(Form &form) {
    form.take("uni");
    std::vector<const Symbol *> results, arguments;
    if (form.peek().kind == OperandSyntax::list) results = variables(form, form.next());
    std::string_view name = form.next().text;
    Symbol &symbol = form.needed_symbol(name);
    if (symbol.kind != Symbol::function) form.refuse("calls through pointers are not supported");
    if (form.more()) arguments = variables(form, form.next());
    const FunctionSyntax &callee = *symbol.code;
    auto &calls = form.decoding().code.calls;
    form.in.target = static_cast<uint32_t>(calls.size());
    Call &call = calls.emplace_back();
    call.caller = form.decoding().function;
    if (!callee.defined) {
        Instruction::Run run = runtime_function(name);
        if (!run) form.refuse("'" + std::string(name) + "' has no code in this module");
        for (const Symbol *argument : arguments)
            call.arguments.push_back({static_cast<uint32_t>(argument->address), 0,
                                      static_cast<uint32_t>(argument->size)});
        for (const Symbol *result : results)
            call.results.push_back({0, static_cast<uint32_t>(result->address),
                                    static_cast<uint32_t>(result->size)});
        return form.emit(run);
    }
    Function *function = form.decoding().functions.at(&callee);
    call.callee = function;
    call.arguments = copies(form, arguments, constant(callee.parameters));
    call.results = copies(form, constant(callee.results), results);
    form.emit(ptx::call);
}

template <Instruction::Run run>
void decode_end(Form &form) {
    form.take("uni");
    form.emit(run);
}

}  // namespace

void add_control_opcodes(Opcodes &opcodes) {
    opcodes["bra"] = decode_bra;
    opcodes["brx"] = decode_brx;
    opcodes["call"] = decode_call;
    opcodes["ret"] = decode_end<return_to_caller>;
    opcodes["exit"] = decode_end<exit>;
    opcodes["trap"] = opcodes["brkpt"] = decode_end<trap>;
}

}  // namespace ptx
