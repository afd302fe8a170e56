#include "runtime.h"

#include <cstdio>
#include <limits>

#include "lanes.h"
#include "memory.h"

namespace ptx {
namespace {

template <class T>
T argument(const Warp &warp, const Call &call, size_t which, unsigned lane) {
    T value;
    std::memcpy(&value, warp.local_of(lane) + warp.frame.local + call.arguments[which].from,
                sizeof value);
    return value;
}

std::string text_at(Warp &warp, unsigned lane, uint64_t address) {
    std::string result;
    for (;; address++) {
        char c = static_cast<char>(*locate_bytes(warp, lane, address, 1));
        if (!c) return result;
        result += c;
    }
}

// The arguments of printf, as the caller packed them: each aligned to its size.
class Arguments {
public:
    Arguments(Warp &warp, unsigned lane, uint64_t address)
        : warp_(warp), lane_(lane), address_(address) {}

    template <class T>
    T next() {
        address_ = (address_ + sizeof(T) - 1) / sizeof(T) * sizeof(T);
        T value;
        std::memcpy(&value, locate_bytes(warp_, lane_, address_, sizeof value), sizeof value);
        address_ += sizeof value;
        return value;
    }
    std::string text() { return text_at(warp_, lane_, next<uint64_t>()); }

private:
    Warp &warp_;
    unsigned lane_;
    uint64_t address_;
};

// One conversion: "%-8.3lld" split into flags with width and precision, and the letters at the end.
struct Conversion {
    std::string form;  // "%-8.3"
    bool wide = false;
    char letter = 0;
};

Conversion conversion_at(const std::string &format, size_t &at, Arguments &arguments) {
    Conversion result{"%", false, 0};
    for (at++; at < format.size(); at++) {
        char c = format[at];
        if (c == '*') result.form += std::to_string(arguments.next<int32_t>());
        else if (c == 'l' || c == 'j' || c == 'z' || c == 't' || c == 'L') result.wide = true;
        else if (c == 'h') continue;
        else if (std::strchr("+-# .0123456789", c)) result.form += c;
        else break;
    }
    if (at < format.size()) result.letter = format[at++];
    return result;
}

template <class T>
std::string formatted(const std::string &form, T value) {
    int length = std::snprintf(nullptr, 0, form.c_str(), value);
    std::string result(static_cast<size_t>(length), '\0');
    std::snprintf(result.data(), result.size() + 1, form.c_str(), value);
    return result;
}

std::string converted(const Conversion &c, Arguments &arguments) {
    switch (c.letter) {
        case 'd':
        case 'i':
        case 'u':
        case 'o':
        case 'x':
        case 'X':
            if (c.wide) return formatted(c.form + "ll" + c.letter, arguments.next<long long>());
            return formatted(c.form + c.letter, arguments.next<int>());
        case 'c': return formatted(c.form + c.letter, arguments.next<int>());
        case 'f':
        case 'F':
        case 'e':
        case 'E':
        case 'g':
        case 'G':
        case 'a':
        case 'A': return formatted(c.form + c.letter, arguments.next<double>());
        case 's': return formatted(c.form + c.letter, arguments.text().c_str());
        case 'p':
            return formatted(c.form + c.letter,
                             reinterpret_cast<void *>(arguments.next<uint64_t>()));
        case '%': return "%";
        default: return c.form + c.letter;
    }
}

std::string printed(Warp &warp, unsigned lane, const std::string &format, uint64_t address) {
    Arguments arguments(warp, lane, address);
    std::string result;
    for (size_t at = 0; at < format.size();) {
        if (format[at] != '%') result += format[at++];
        else {
            Conversion conversion = conversion_at(format, at, arguments);
            result += converted(conversion, arguments);
        }
    }
    return result;
}

void print(Warp &warp, const Instruction &in) {
    const Call &call = warp.machine->code->calls[in.target];
    each_lane(warp.active, [&](unsigned lane) {
        std::string format = text_at(warp, lane, argument<uint64_t>(warp, call, 0, lane));
        std::string text = printed(warp, lane, format, argument<uint64_t>(warp, call, 1, lane));
        std::fwrite(text.data(), 1, text.size(), stdout);
        if (call.results.empty()) return;
        size_t place = warp.frame.local + call.results[0].to;
        int32_t length = static_cast<int32_t>(text.size());
        std::memcpy(warp.local_of(lane) + place, &length, sizeof length);
        if (warp.local_written)
            std::memset(warp.local_written + lane * warp.local_stride + place, 1, sizeof length);
    });
    std::fflush(stdout);
}

void fail_assertion(Warp &warp, const Instruction &in) {
    const Call &call = warp.machine->code->calls[in.target];
    unsigned lane = static_cast<unsigned>(std::countr_zero(warp.active));
    auto text = [&](size_t which) {
        return text_at(warp, lane, argument<uint64_t>(warp, call, which, lane));
    };
    std::string line = std::to_string(argument<uint32_t>(warp, call, 2, lane));
    warp.fault(710, lane,
               text(1) + ":" + line + ": " + text(3) + ": assertion '" + text(0) + "' failed");
}

}  // namespace

Instruction::Run runtime_function(std::string_view name) {
    if (name == "vprintf") return print;
    if (name == "__assertfail") return fail_assertion;
    return nullptr;
}

}  // namespace ptx
