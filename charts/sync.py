"""Copy the CRDs and the profiles of known machines into the charts: `python charts/sync.py [--check]`.

The charts hold copies, not links: source archives made by GitOps tools drop symbolic links, and a chart would then
install without its files, silently. `--check` writes nothing and exits with 1 when a copy differs.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHARTS = ROOT / "charts"
SOURCES = {
    CHARTS / "supernode-operator" / "files" / "crds": ROOT / "crds",
    CHARTS / "supernode-profiles" / "files" / "profiles": ROOT / "examples" / "profiles",
}


def stale() -> dict[Path, bytes | None]:
    """Every file of the charts that differs from its source, with the content it should have (None: none)."""
    found: dict[Path, bytes | None] = {}
    for target, source in SOURCES.items():
        wanted = {target / file.name: file.read_bytes() for file in sorted(source.glob("*.yaml"))}
        found |= {
            path: content for path, content in wanted.items() if not path.exists() or path.read_bytes() != content
        }
        found |= dict.fromkeys(set(target.glob("*")) - wanted.keys())
    return found


def main(arguments: list[str]) -> int:
    differing = stale()
    if "--check" in arguments:
        for path in sorted(differing):
            print(f"{path.relative_to(ROOT)} differs from its source; run: python charts/sync.py", file=sys.stderr)
        return 1 if differing else 0
    for path, content in differing.items():
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
