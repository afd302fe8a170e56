"""`pytest -k NAME` starts within seconds: parameters that cannot match become no tests.

The suite's 60,000 tests are 2,600 functions. pytest makes an object of each test, which takes most
of the time until the first one runs, and asks afterwards which of them `-k` names.
"""

import functools

__all__ = ["drop_others"]


def drop_others(metafunc):
    """Drop the parameters that ``-k`` would drop: pytest's matcher, with all names of a test."""
    keyword = metafunc.config.option.keyword.strip()
    if not keyword or not metafunc._calls:
        return
    from _pytest.mark import KeywordMatcher
    from _pytest.mark.expression import Expression

    matches = Expression.compile(keyword).evaluate
    function = metafunc.definition
    names_function = functools.cache(KeywordMatcher.from_item(function))

    def is_chosen(call):
        name = f"{function.name}[{call.id}]" if call._idlist else function.name
        names_call = KeywordMatcher({name, *(mark.name for mark in call.marks)})
        return matches(lambda term: names_function(term) or names_call(term))

    calls = [call for call in metafunc._calls if is_chosen(call)]
    # Of a function without parameters pytest makes a test, so one stays for `-k` itself to drop.
    metafunc._calls[:] = calls or metafunc._calls[:1]
