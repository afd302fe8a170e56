// From tokens to statements, functions and variables. What a statement means is the decoder's.
#include <algorithm>

#include "syntax.h"

namespace ptx {
namespace {

class Parser {
public:
    explicit Parser(ModuleSyntax &module)
        : module_(module), tokens_(tokens_of(module.source)), scope_(&module.scope) {}

    void run() {
        while (peek().kind != TokenKind::end) top_level();
    }

private:
    ModuleSyntax &module_;
    std::vector<Token> tokens_;
    size_t at_ = 0;
    Scope *scope_;
    FunctionSyntax *function_ = nullptr;
    int source_file_ = 0, source_line_ = 0;

    // ------------------------------------------------------------ tokens

    const Token &peek(size_t ahead = 0) const {
        return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
    }
    const Token &next() {
        const Token &token = peek();
        if (token.kind != TokenKind::end) at_++;
        return token;
    }
    bool take(char character) {
        if (!peek().is(character)) return false;
        at_++;
        return true;
    }
    bool take_dotted(std::string_view text) {
        if (peek().kind != TokenKind::dotted || peek().text != text) return false;
        at_++;
        return true;
    }
    [[noreturn]] void unexpected(const std::string &wanted) {
        invalid_ptx(peek().line,
                    "expected " + wanted + ", found '" + std::string(peek().text) + "'");
    }
    void expect(char character) {
        if (!take(character)) unexpected(std::string("'") + character + "'");
    }
    std::string_view expect_name() {
        if (peek().kind != TokenKind::name) unexpected("a name");
        return next().text;
    }
    uint64_t expect_integer() {
        if (peek().kind != TokenKind::integer) unexpected("a whole number");
        return next().bits;
    }
    void skip_to_semicolon() {
        while (!peek().is(';') && peek().kind != TokenKind::end) at_++;
        expect(';');
    }

    // ------------------------------------------------------------ names

    Symbol &declare(std::string_view name, Symbol::Kind kind, int line) {
        auto [place, fresh] = scope_->symbols.try_emplace(name);
        Symbol &symbol = place->second;
        bool function_again = !fresh && kind == Symbol::function && symbol.kind == kind;
        if (!fresh && !function_again)
            invalid_ptx(line, "'" + std::string(name) + "' is declared twice");
        symbol.kind = kind;
        symbol.name = place->first;
        symbol.line = line;
        return symbol;
    }

    // ------------------------------------------------------------ the module

    void top_level() {
        if (take_dotted("version")) {
            module_.version = next().text;
        } else if (take_dotted("target")) {
            module_.target = expect_name();
            while (take(',')) expect_name();  // debug, texmode_...: without effect here
        } else if (take_dotted("address_size")) {
            if (expect_integer() != 64) invalid_ptx(peek().line, "addresses are of 64 bits");
        } else if (take_dotted("file")) {
            file();
        } else if (take_dotted("section")) {
            section();
        } else if (take_dotted("pragma")) {
            skip_to_semicolon();
        } else if (!take(';')) {
            declaration();
        }
    }

    void file() {
        int number = static_cast<int>(expect_integer());
        if (peek().kind != TokenKind::string) unexpected("a file's name");
        module_.files[number] = next().text;
        while (take(',')) expect_integer();  // its time and size
    }

    void section() {  // debugging information, for debuggers
        next();
        expect('{');
        for (int depth = 1; depth > 0;) {
            if (peek().kind == TokenKind::end) unexpected("'}'");
            if (peek().is('{')) depth++;
            if (peek().is('}')) depth--;
            at_++;
        }
    }

    void declaration() {
        bool external = false;
        for (;;) {
            if (take_dotted("extern")) external = true;
            else if (!take_dotted("visible") && !take_dotted("weak") && !take_dotted("common"))
                break;
        }
        if (take_dotted("entry")) return function(true);
        if (take_dotted("func")) return function(false);
        if (!variables(external)) unexpected("a declaration");
    }

    // ------------------------------------------------------------ variables

    bool variables(bool external) {
        static constexpr std::pair<std::string_view, Space> spaces[] = {
            {"global", Space::global}, {"const", Space::constant}, {"shared", Space::shared},
            {"local", Space::local}, {"param", Space::parameter}};
        for (auto [name, space] : spaces) {
            if (!take_dotted(name)) continue;
            do variable(space, external);
            while (take(','));
            expect(';');
            return true;
        }
        return false;
    }

    struct Shape {
        Type type = Type::none;
        uint32_t align = 0;
        uint64_t vector = 1;
    };

    // .align 8 .attribute(.managed) .v2 .f32, .u64 .ptr .global .align 4
    Shape shape() {
        Shape result;
        while (peek().kind == TokenKind::dotted) {
            std::string_view text = next().text;
            Type type = type_named(text);
            if (type != Type::none) result.type = type;
            else if (text == "align") result.align = static_cast<uint32_t>(expect_integer());
            else if (text == "v2") result.vector = 2;
            else if (text == "v4") result.vector = 4;
            else if (text == "attribute") attribute();
            else if (text == "ptr") pointer();
            else invalid_ptx(peek().line, "'." + std::string(text) + "' in a declaration");
        }
        if (result.type == Type::none) unexpected("a type");
        if (!result.align)
            result.align =
                static_cast<uint32_t>(std::max(1u, size_of(result.type)) * result.vector);
        return result;
    }

    void attribute() {  // managed memory is what all memory is here
        expect('(');
        if (!take_dotted("managed")) unexpected(".managed");
        expect(')');
    }

    void pointer() {  // what a pointer parameter points to: a hint
        for (auto space : {"global", "const", "shared", "local"}) take_dotted(space);
        if (take_dotted("align")) expect_integer();
    }

    Symbol &variable(Space space, bool external) {
        int line = peek().line;
        Shape shape = this->shape();
        Symbol &symbol = declare(expect_name(), Symbol::variable, line);
        symbol.space = space;
        symbol.type = shape.type;
        symbol.align = shape.align;
        symbol.owner = function_;
        uint64_t count = shape.vector, open = 0;
        while (take('[')) {
            if (take(']')) {
                open = 1;
                continue;
            }
            count *= expect_integer();
            expect(']');
        }
        if (take('=')) initializer(symbol);
        if (open && space != Space::shared) count *= elements(symbol);
        symbol.external = space == Space::shared && (open || external);
        symbol.size = symbol.external ? 0 : count * size_of(shape.type);
        bool of_frame = space == Space::local || space == Space::parameter;
        if (function_ && (of_frame || space == Space::shared))
            function_->variables.push_back(&symbol);
        if (of_frame && !function_) invalid_ptx(line, "a local variable outside a function");
        if (!of_frame) module_.variables.push_back(&symbol);
        if (external && space != Space::shared)
            invalid_ptx(line, "variable '" + std::string(symbol.name) + "' of another module");
        return symbol;
    }

    void initializer(Symbol &symbol) {
        for (int depth = 0;; at_++) {
            if (peek().kind == TokenKind::end) unexpected("';'");
            if (depth == 0 && (peek().is(';') || peek().is(','))) return;
            if (peek().is('{')) depth++;
            if (peek().is('}')) depth--;
            symbol.initializer.push_back(peek());
        }
    }

    static uint64_t elements(const Symbol &symbol) {
        uint64_t count = symbol.initializer.empty() ? 0 : 1;
        for (const Token &token : symbol.initializer) count += token.is(',');
        return count;
    }

    void registers() {  // .reg .b32 %r<5>, x;
        Type type = shape().type;
        do {
            int line = peek().line;
            std::string_view name = expect_name();
            if (!take('<')) {
                declare(name, Symbol::register_name, line).type = type;
                continue;
            }
            uint64_t count = expect_integer();
            expect('>');
            for (uint64_t i = 0; i < count; i++) {
                module_.names.push_back(std::string(name) + std::to_string(i));
                declare(module_.names.back(), Symbol::register_name, line).type = type;
            }
        } while (take(','));
        expect(';');
    }

    // ------------------------------------------------------------ functions

    void function(bool entry) {
        module_.functions.emplace_back();
        FunctionSyntax &function = module_.functions.back();
        function.entry = entry;
        function.line = peek().line;
        function.scopes.emplace_back().parent = &module_.scope;
        function_ = &function;
        scope_ = &function.scopes.front();
        if (peek().is('(')) function.results = parameters(false);
        function.name = expect_name();
        if (peek().is('(')) function.parameters = parameters(entry);
        scope_ = &module_.scope;
        Symbol &symbol = declare(function.name, Symbol::function, function.line);
        performance(function);
        if (peek().is('{')) {
            symbol.code = &function;
            function.defined = true;
            scope_ = &function.scopes.front();
            body();
            scope_ = &module_.scope;
        } else {
            expect(';');
        }
        if (!symbol.code) symbol.code = &function;
        function_ = nullptr;
    }

    std::vector<Symbol *> parameters(bool entry) {
        std::vector<Symbol *> result;
        expect('(');
        if (take(')')) return result;
        do {
            if (!take_dotted("param")) unexpected(".param");
            result.push_back(&variable(Space::parameter, false));
            result.back()->entry_parameter = entry;
            function_->variables.pop_back();  // they are listed apart
        } while (take(','));
        expect(')');
        return result;
    }

    void performance(FunctionSyntax &function) {
        while (peek().kind == TokenKind::dotted) {
            std::string_view text = peek().text;
            if (text == "maxntid" || text == "reqntid") {
                at_++;
                uint64_t threads = expect_integer();
                while (take(',')) threads *= expect_integer();
                function.max_threads = static_cast<uint32_t>(threads);
            } else if (text == "minnctapersm" || text == "maxnreg" || text == "maxnctapersm") {
                at_++;  // how the assembler shares out registers
                expect_integer();
            } else if (text == "noreturn") {
                at_++;
            } else if (text == "pragma") {
                skip_to_semicolon();
            } else {
                unexpected("a function's body");
            }
        }
    }

    void body() {
        Scope *outside = scope_;
        function_->scopes.emplace_back().parent = outside;
        scope_ = &function_->scopes.back();
        expect('{');
        while (!take('}')) {
            if (peek().is('{')) body();
            else if (peek().kind == TokenKind::dotted) directive();
            else if (peek().kind == TokenKind::name && peek(1).is(':')) label();
            else if (!take(';')) statement();
        }
        scope_ = outside;
    }

    void directive() {
        if (take_dotted("reg")) return registers();
        if (take_dotted("loc")) return location();
        if (take_dotted("pragma")) return skip_to_semicolon();  // "nounroll"
        if (!variables(false)) unexpected("a directive that the interpreter knows");
    }

    void location() {  // .loc 1 20 5, function_name $L__info, inlined_at 1 30 3
        source_file_ = static_cast<int>(expect_integer());
        source_line_ = static_cast<int>(expect_integer());
        expect_integer();
        while (take(',')) {
            std::string_view what = expect_name();
            if (what == "function_name") {
                expect_name();
                if (take('+')) expect_integer();
            } else if (what == "inlined_at") {
                for (int i = 0; i < 3; i++) expect_integer();
            } else {
                unexpected("function_name or inlined_at");
            }
        }
    }

    void label() {
        int line = peek().line;
        std::string_view name = expect_name();
        expect(':');
        if (take_dotted("branchtargets")) {
            Symbol &symbol = declare(name, Symbol::targets, line);
            do symbol.names.push_back(expect_name());
            while (take(','));
            return expect(';');
        }
        // they describe calls through pointers, which the decoder refuses
        if (take_dotted("callprototype") || take_dotted("calltargets")) return skip_to_semicolon();
        Symbol &symbol = declare(name, Symbol::label, line);
        symbol.position = static_cast<uint32_t>(function_->statements.size());
    }

    // ------------------------------------------------------------ statements

    void statement() {
        Statement statement;
        statement.line = peek().line;
        statement.scope = scope_;
        statement.source_file = source_file_;
        statement.source_line = source_line_;
        const char *begin = peek().begin;
        if (take('@')) {
            statement.guard_negated = take('!');
            statement.guard = expect_name();
        }
        statement.opcode = expect_name();
        while (peek().kind == TokenKind::dotted) statement.modifiers.push_back(next().text);
        if (!peek().is(';')) {
            do statement.operands.push_back(operand());
            while (take(','));
        }
        statement.text = std::string_view(begin, tokens_[at_ - 1].after - begin);
        expect(';');
        function_->statements.push_back(std::move(statement));
    }

    OperandSyntax operand() {
        if (peek().is('{')) return list('{', '}');
        if (peek().is('(')) return list('(', ')');
        if (peek().is('[')) return address();
        if (take('!')) {
            OperandSyntax result = named();
            result.negated = true;
            return result;
        }
        if (peek().kind == TokenKind::name) return named();
        return number();
    }

    OperandSyntax list(char open, char close) {
        OperandSyntax result;
        result.kind = OperandSyntax::list;
        expect(open);
        if (take(close)) return result;
        do result.elements.push_back(operand());
        while (take(','));
        expect(close);
        return result;
    }

    OperandSyntax named() {
        OperandSyntax result;
        result.text = expect_name();
        result.kind = result.text == "_" ? OperandSyntax::sink : OperandSyntax::name;
        if (result.text == "WARP_SZ") {
            result.kind = OperandSyntax::number;
            result.bits = 32;
        }
        if (take('|')) {
            result.second = expect_name();
            result.kind = OperandSyntax::name;
        }
        result.offset = offset();
        return result;
    }

    OperandSyntax number() {
        OperandSyntax result;
        result.kind = OperandSyntax::number;
        bool negative = take('-');
        if (peek().kind != TokenKind::integer && peek().kind != TokenKind::single &&
            peek().kind != TokenKind::real)
            unexpected("an operand");
        const Token &token = next();
        result.number_kind = token.kind;
        result.bits = token.bits;
        if (!negative) return result;
        if (token.kind == TokenKind::integer) result.bits = -result.bits;
        else result.bits ^= token.kind == TokenKind::single ? uint64_t{1} << 31 : uint64_t{1} << 63;
        return result;
    }

    int64_t offset() {
        bool plus = take('+');
        bool negative = take('-');
        if (!plus && !negative) return 0;
        int64_t value = static_cast<int64_t>(expect_integer());
        return negative ? -value : value;
    }

    OperandSyntax address() {
        OperandSyntax result;
        expect('[');
        if (peek().kind == TokenKind::name) {
            result = named();
        } else {
            result = number();
            result.has_base = false;
            result.offset = static_cast<int64_t>(result.bits);
        }
        result.kind = OperandSyntax::memory;
        expect(']');
        return result;
    }
};

}  // namespace

std::unique_ptr<ModuleSyntax> parse_syntax(const std::string &text) {
    auto module = std::make_unique<ModuleSyntax>();
    module->source = text;
    Parser(*module).run();
    return module;
}

}  // namespace ptx
