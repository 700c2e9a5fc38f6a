"""`python -m supernode.api generate [--check]`: write what is made from the models, or say what is stale."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from supernode.api.crd import all_crds, root_schema
from supernode.api.kinds import KINDS
from supernode.api.reference import api_page, editor_schema, reasons_page
from supernode.api.structural import structural_problems


def generated() -> Iterator[tuple[str, str]]:
    """Path below the repository's root and content of every generated file."""
    note = "# Generated from supernode.api by `python -m supernode.api generate`.\n"
    for name, content in all_crds():
        yield f"crds/{name}", note + yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True)
    for kind in KINDS:
        yield f"docs/schemas/{kind.name.lower()}.json", json.dumps(editor_schema(kind), indent=2) + "\n"
    yield "docs/reference/api.md", api_page()
    yield "docs/reference/reasons.md", reasons_page()


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done or fresh, 1 a schema is not structural or a file is stale."""
    parser = argparse.ArgumentParser(prog="python -m supernode.api", description=__doc__)
    parser.add_argument("command", choices=["generate"])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is stale")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="root of the repository (default: here)")
    options = parser.parse_args(arguments)

    problems = [f"{kind.name}{problem}" for kind in KINDS for problem in structural_problems(root_schema(kind))]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    stale = []
    for name, content in generated():
        path = options.root / name
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        stale.append(name)
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    if options.check and stale:
        print(f"stale: {', '.join(stale)}; run `python -m supernode.api generate`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
