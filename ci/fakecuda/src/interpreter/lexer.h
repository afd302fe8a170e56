// Splits PTX text into tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ptx {

enum class TokenKind : uint8_t {
    name,         // add, %r1, %tid.x, $L__BB0_1, _ZN3foo
    dotted,       // a directive, modifier or type; `text` is without the dot
    integer,      // `bits` has the value
    single,       // 0f3F800000; `bits` has the pattern
    real,         // 0d3FF0000000000000 or 1.5; `bits` has the pattern of the double
    string,       // `text` is without the quotes
    punctuation,  // one character
    end,
};

struct Token {
    TokenKind kind;
    std::string_view text;
    int line;
    uint64_t bits = 0;
    const char *begin = nullptr, *after = nullptr;  // where it stands in the source

    bool is(char character) const {
        return kind == TokenKind::punctuation && text[0] == character;
    }
};

// The tokens point into `source`, which must outlive them. The last one is of kind `end`.
std::vector<Token> tokens_of(const std::string &source);

// Throws the Fault of a PTX text that is not valid or not understood.
[[noreturn]] void invalid_ptx(int line, const std::string &what);

}  // namespace ptx
