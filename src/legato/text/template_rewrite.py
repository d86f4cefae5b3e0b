"""The rewriting of a template's syntax tree that makes its work countable.

Loops, outputs and every expression that makes a new value pass through two filters of the
environment, which charge the rendering's budget.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from legato.errors import ModelFormatError

CHARGE = "legato_charge"
COUNT = "legato_count"
MAX_DEPTH = 150
"""Deepest nesting of a template's syntax tree; real ones stay below 40."""
_IMPORTING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


def check_tree(root: nodes.Node) -> None:
    """ModelFormatError for a template that nests too deeply or reads other templates."""
    pending: list[tuple[nodes.Node, int]] = [(root, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ModelFormatError(
                f"the chat template nests more than {MAX_DEPTH} levels deep at line {node.lineno}"
            )
        if isinstance(node, _IMPORTING):
            raise ModelFormatError(
                f"the chat template reads another template at line {node.lineno}; a model's "
                "template has to be complete in itself"
            )
        pending.extend((child, depth + 1) for child in node.iter_child_nodes())


class CountingRewrite(NodeTransformer):
    """Wraps what costs work in the filters `CHARGE` and `COUNT`."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Each round of a loop is counted."""
        self.generic_visit(node)
        node.iter = _filtered(node.iter, COUNT)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802
        """Each piece of output is charged, constant text included."""
        self.generic_visit(node)
        node.nodes = [_filtered(_constant(child), CHARGE) for child in node.nodes]
        return node

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        """The call itself has to stay a call; the environment counts it."""
        call = node.call
        self.generic_visit(node)
        node.call = call
        return node

    def _charged(self, node: nodes.Expr) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, CHARGE)

    visit_Call = _charged  # noqa: N815
    visit_Concat = _charged  # noqa: N815
    visit_List = _charged  # noqa: N815
    visit_Dict = _charged  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """A tuple is a value unless it is assigned to."""
        return self._charged(node) if node.ctx == "load" else node

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802
        """A filter block's filter has no operand of its own and is charged as output."""
        self.generic_visit(node)
        return node if node.node is None else _filtered(node, CHARGE)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """A slice makes a new string or list."""
        self.generic_visit(node)
        return _filtered(node, CHARGE) if isinstance(node.arg, nodes.Slice) else node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _constant(node: nodes.Expr) -> nodes.Expr:
    if isinstance(node, nodes.TemplateData):
        return nodes.Const(node.data, lineno=node.lineno)
    return node
