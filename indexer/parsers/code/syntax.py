"""The grammars of programming languages, and what their syntax trees call definitions."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tree_sitter import Language

# Functions and types that are one topic each.
_DEFINITIONS: Final = frozenset(
    {
        # Python, shell, C, C++, PHP
        "function_definition",
        # JavaScript, TypeScript
        "function_declaration", "generator_function_declaration", "method_definition", "type_alias_declaration",
        "enum_declaration",
        # Java, C#, PHP
        "method_declaration", "constructor_declaration", "annotation_type_declaration", "delegate_declaration",
        # Go
        "type_declaration",
        # Rust
        "function_item", "struct_item", "enum_item", "macro_definition", "type_item", "union_item",
        # C, C++
        "type_definition", "struct_specifier", "enum_specifier", "union_specifier",
        # Ruby
        "method", "singleton_method",
    }
)  # fmt: skip
# Definitions that hold others.
CONTAINERS: Final = frozenset(
    {
        "class_definition", "class_declaration", "abstract_class_declaration", "interface_declaration",
        "internal_module", "record_declaration", "struct_declaration", "namespace_declaration", "impl_item",
        "trait_item", "mod_item", "class_specifier", "namespace_definition", "class", "module", "trait_declaration",
    }
)  # fmt: skip
WRAPPERS: Final = frozenset(
    {
        "decorated_definition", "export_statement", "template_declaration", "ambient_declaration",
        # JavaScript, TypeScript: around functions that are given a name
        "lexical_declaration", "variable_declaration", "expression_statement",
    }
)  # fmt: skip
_NAMELESS: Final = frozenset({"arrow_function", "function_expression", "generator_function"})
_GIVEN: Final = {"variable_declarator": "value", "assignment_expression": "right"}


def defines(node: Any) -> bool:  # noqa: ANN401
    """Whether a node is a definition, wrappers aside: as such, or as a function that is given a name."""
    if (field := _GIVEN.get(node.type)) is not None:
        value = node.child_by_field_name(field)
        return value is not None and value.type in _NAMELESS
    return node.type in _DEFINITIONS or node.type in CONTAINERS


@cache
def language_of(name: str) -> Language:
    """The grammar of a language, imported when it is asked for first."""
    from tree_sitter import Language

    return Language(_grammar(name))


def _grammar(name: str) -> Any:  # noqa: ANN401, C901, PLR0911 - one import a language, and no more
    if name == "python":
        import tree_sitter_python

        return tree_sitter_python.language()
    if name == "javascript":
        import tree_sitter_javascript

        return tree_sitter_javascript.language()
    if name in {"typescript", "tsx"}:
        import tree_sitter_typescript

        return getattr(tree_sitter_typescript, f"language_{name}")()
    if name == "java":
        import tree_sitter_java

        return tree_sitter_java.language()
    if name == "go":
        import tree_sitter_go

        return tree_sitter_go.language()
    if name == "rust":
        import tree_sitter_rust

        return tree_sitter_rust.language()
    if name == "c":
        import tree_sitter_c

        return tree_sitter_c.language()
    if name == "cpp":
        import tree_sitter_cpp

        return tree_sitter_cpp.language()
    if name == "csharp":
        import tree_sitter_c_sharp

        return tree_sitter_c_sharp.language()
    if name == "ruby":
        import tree_sitter_ruby

        return tree_sitter_ruby.language()
    if name == "php":
        import tree_sitter_php

        return tree_sitter_php.language_php()
    if name == "shell":
        import tree_sitter_bash

        return tree_sitter_bash.language()
    raise KeyError(name)
