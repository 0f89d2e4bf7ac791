from rag import errors


def all_errors() -> list[type[errors.RagError]]:
    found: list[type[errors.RagError]] = [errors.RagError]
    for error in found:
        found += error.__subclasses__()
    return found


def test_all_is_complete_and_the_outline_names_every_error() -> None:
    names = {error.__name__ for error in all_errors() if error.__module__ == "rag.errors"}
    assert names == set(errors.__all__)
    assert errors.__doc__ is not None
    assert [name for name in names if name not in errors.__doc__] == []


def test_codes_are_unique() -> None:
    codes = [error.code for error in all_errors() if error.__module__ == "rag.errors"]
    assert len(codes) == len(set(codes))


def test_the_hint_follows_the_message() -> None:
    assert (
        str(errors.UnknownModel("No model 'x'.", hint="Try: rag models list")) == "No model 'x'. Try: rag models list"
    )
