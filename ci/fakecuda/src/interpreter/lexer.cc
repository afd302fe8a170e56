#include "lexer.h"

#include <bit>
#include <cctype>
#include <cstdlib>

#include "../standin.h"

namespace ptx {

void invalid_ptx(int line, const std::string &what) {
    throw fakecuda::Fault(218, "PTX line " + std::to_string(line) + ": " + what);
}

namespace {

bool begins_name(char c) {
    return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%';
}
bool continues_name(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$';
}
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)); }

class Lexer {
public:
    explicit Lexer(const std::string &source)
        : at_(source.data()), end_(source.data() + source.size()) {}

    std::vector<Token> all() {
        std::vector<Token> tokens;
        do tokens.push_back(next());
        while (tokens.back().kind != TokenKind::end);
        return tokens;
    }

private:
    const char *at_, *end_;
    int line_ = 1;

    char peek(size_t ahead = 0) const {
        return at_ + ahead < end_ ? at_[ahead] : '\0';
    }

    void skip_blanks_and_comments() {
        while (at_ < end_) {
            if (*at_ == '\n') {
                line_++;
                at_++;
            } else if (std::isspace(static_cast<unsigned char>(*at_)) || *at_ == '\0') {
                at_++;
            } else if (peek() == '/' && peek(1) == '/') {
                while (at_ < end_ && *at_ != '\n') at_++;
            } else if (peek() == '/' && peek(1) == '*') {
                at_ += 2;
                while (at_ < end_ && !(peek() == '*' && peek(1) == '/'))
                    if (*at_++ == '\n') line_++;
                at_ += 2;
            } else {
                return;
            }
        }
    }

    Token token(TokenKind kind, const char *begin, uint64_t bits = 0) {
        return {kind, std::string_view(begin, at_ - begin), line_, bits, begin, at_};
    }

    Token next() {
        skip_blanks_and_comments();
        const char *begin = at_;
        if (at_ >= end_) {
            at_ = end_;
            return token(TokenKind::end, at_);
        }
        if (begins_name(*at_)) return name();
        if (is_digit(*at_)) return number();
        if (*at_ == '"') return string();
        if (*at_ == '.' && continues_name(peek(1))) return dotted();
        at_++;
        return token(TokenKind::punctuation, begin);
    }

    Token name() {
        const char *begin = at_++;
        while (continues_name(peek())) at_++;
        // %tid.x is one name; in `add.u32` the dot begins a modifier
        if (*begin == '%' && peek() == '.' && !continues_name(peek(2)) && peek(1) >= 'w' &&
            peek(1) <= 'z')
            at_ += 2;
        return token(TokenKind::name, begin);
    }

    Token dotted() {
        const char *begin = at_++;
        while (continues_name(peek()) ||
               (peek() == ':' && peek(1) == ':' && continues_name(peek(2)))) {
            at_ += peek() == ':' ? 2 : 1;
        }
        Token result = token(TokenKind::dotted, begin);
        result.text.remove_prefix(1);
        return result;
    }

    Token string() {
        const char *begin = ++at_;
        while (at_ < end_ && *at_ != '"') {
            if (*at_ == '\n') line_++;
            at_++;
        }
        Token result = token(TokenKind::string, begin);
        at_++;
        result.after = at_;
        return result;
    }

    Token number() {
        const char *begin = at_;
        char mark = peek() == '0' ? peek(1) : '\0';
        if (mark == 'f' || mark == 'F') return pattern(8, TokenKind::single);
        if (mark == 'd' || mark == 'D') return pattern(16, TokenKind::real);
        while (continues_name(peek())) at_++;
        if (peek() == '.' && is_digit(peek(1))) return decimal(begin);
        std::string digits(begin, at_);
        if (digits.back() == 'U') digits.pop_back();
        bool binary = mark == 'b' || mark == 'B';
        char *stop = nullptr;
        uint64_t value = binary ? std::strtoull(digits.c_str() + 2, &stop, 2)
                                : std::strtoull(digits.c_str(), &stop, 0);
        if (*stop) invalid_ptx(line_, "'" + digits + "' is not a number");
        return token(TokenKind::integer, begin, value);
    }

    Token pattern(size_t digits, TokenKind kind) {
        const char *begin = at_;
        at_ += 2;
        while (continues_name(peek())) at_++;
        std::string text(begin + 2, at_);
        char *stop = nullptr;
        uint64_t value = std::strtoull(text.c_str(), &stop, 16);
        if (*stop || text.size() != digits)
            invalid_ptx(line_, "'" + std::string(begin, at_) + "' is not a number");
        return token(kind, begin, value);
    }

    Token decimal(const char *begin) {
        char *stop = nullptr;
        double value = std::strtod(begin, &stop);
        at_ = stop;
        return token(TokenKind::real, begin, std::bit_cast<uint64_t>(value));
    }
};

}  // namespace

std::vector<Token> tokens_of(const std::string &source) { return Lexer(source).all(); }

}  // namespace ptx
