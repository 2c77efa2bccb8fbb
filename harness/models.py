"""`python -m harness.models`: the trained models that were kept; moves them between machines."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.common.disclosure import Artefact, may_leave
from harness.console import cli

if TYPE_CHECKING:
    from harness.trained.model_card import ModelCard
    from harness.trained.model_store import ModelStore, StoredModel

EXAMPLES = """
  python -m harness.models list
  python -m harness.models export brain/rd4ad/seed-0 --to rd4ad-brain.tar
  python -m harness.models import rd4ad-brain.tar
  python -m harness.models verify                    every file against its hash
  python -m harness.models remove 3f9a1c2b
  python -m harness.evaluate baselines/rd4ad --stored-model 3f9a1c2b --benchmark brain
"""
MEBIBYTE = 1024**2


def build_parser() -> cli.Parser:
    """The command line of this verb."""
    parser = cli.Parser(
        "models",
        "List, verify, export, import or remove the trained models that were kept.\n"
        "What is imported can be evaluated, but only says how it was trained: such a row is\n"
        "never `trained here`.",
        EXAMPLES,
    )
    parser.add_argument("action", choices=("list", "verify", "export", "import", "remove"))
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="export, remove: a run (brain/rd4ad/seed-0) or a hash; import: files",
    )
    parser.add_argument("--to", type=Path, metavar="FILE", help="where export writes (a .tar)")
    parser.add_argument(
        "--max-bytes", type=int, metavar="N", help="import refuses larger models (default: 16 GiB)"
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="the store ($BMAD_MODELS)")
    parser.add_argument(
        "--json", action="store_true", help="print the result as JSON; of list, the cards"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit code."""
    options = build_parser().parse_args(argv)
    from harness.trained.model_store import ModelStore, default_models

    _check_names(options.action, options.names)
    store = ModelStore(options.models or default_models())
    store.sweep()
    if options.action == "list":
        return _list(store, is_json=options.json)
    if options.action == "verify":
        return _verify(store, is_json=options.json)
    if options.action == "export":
        return _export(store, options.names[0], options.to, is_json=options.json)
    if options.action == "import":
        files = [Path(name) for name in options.names]
        return _import(store, files, options.max_bytes, is_json=options.json)
    freed = store.remove([model for text in options.names for model in store.matching(text)])
    cli.say_either(
        f"{freed // MEBIBYTE} MiB became free", {"freed_bytes": freed}, is_json=options.json
    )
    return 0


def _check_names(action: str, names: Sequence[str]) -> None:
    from harness.common.errors import UsageError

    wanted = {"list": "none", "verify": "none", "export": "one"}.get(action, "some")
    is_right = {"none": not names, "one": len(names) == 1, "some": bool(names)}[wanted]
    if not is_right:
        raise UsageError(
            f"{action} takes {wanted if wanted != 'some' else 'at least one'} NAME",
            fix="python -m harness.models --help",
        )


def _export(store: ModelStore, name: str, target: Path | None, *, is_json: bool) -> int:
    from harness.common.errors import UsageError
    from harness.trained import model_archive

    model = store.named(name)
    if target is None:
        raise UsageError("export needs a file to write", fix="--to FILE.tar")
    if not may_leave(Artefact.EXACT_RECORD, model.card.visibility):
        cli.say("note: this model was trained on a hidden pack", to=sys.stderr)
    model_archive.export(store, model, target)
    cli.say_either(
        f"{target} {model.card.model} {model.card.name}",
        {"file": str(target), "model": model.card.model, "name": model.card.name},
        is_json=is_json,
    )
    return 0


def _import(
    store: ModelStore, files: Sequence[Path], max_bytes: int | None, *, is_json: bool
) -> int:
    from harness.trained import model_archive

    most = max_bytes or model_archive.MAX_ARCHIVE_BYTES
    cards = []
    for file in files:
        cards.append(model_archive.import_archive(store, file, max_bytes=most))
        if not is_json:
            cli.say(f"{cards[-1].model} {cards[-1].name}")
    if is_json:
        cli.say_json([{"model": card.model, "name": card.name} for card in cards])
    return 0


def _list(store: ModelStore, *, is_json: bool) -> int:
    models = store.models()
    if is_json:
        cli.say_json([{"origin": model.origin, **_told(model.card)} for model in models])
        return 0
    for model in models:
        cli.say(_line(model))
    total = sum({model.card.model: model.card.nbytes for model in models}.values())
    cli.say(f"{len(models)} models, {total / MEBIBYTE:.1f} MiB in {store.root}")
    return 0


def _told(card: ModelCard) -> dict[str, Any]:
    """A card as it may be shown: of a hidden pack's model no name of a file, and no step."""
    told = card.model_dump(mode="json")
    if not may_leave(Artefact.ENTRY_WORDS, card.visibility):
        told["files"], told["training"] = len(card.files), None
    return told


def _line(model: StoredModel) -> str:
    card = model.card
    used = time.strftime("%Y-%m-%d", time.gmtime(model.last_used))
    return (
        f"{card.name:<32} {card.model.removeprefix('sha256:')[:12]} {card.preset:<9}"
        f" {card.nbytes / MEBIBYTE:8.1f} MiB  {model.origin:<8} in {card.seconds:.0f} s,"
        f" last used {used}"
    )


def _verify(store: ModelStore, *, is_json: bool) -> int:
    """Print every model's state; 5 when one is damaged."""
    from harness.common.errors import StoreUnusable

    found = []
    for model in store.models():
        problems = store.problems(model)
        found.append({"name": model.card.name, "model": model.card.model, "problems": problems})
        if not is_json:
            cli.say(f"{model.card.name} {model.card.model} {'; '.join(problems) or 'ok'}")
    if is_json:
        cli.say_json(found)
    return StoreUnusable.exit_code if any(each["problems"] for each in found) else 0


if __name__ == "__main__":
    sys.exit(cli.run_verb(main))
