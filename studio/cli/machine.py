"""The machine and the models on it: `studio doctor` and `studio models`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from studio.cli.parsing import add_verb, add_verbs
from studio.cli.printing import AT_FAULT, DONE, print_json, size
from studio.cli.progress import shown_progress
from studio.services.store import Store

if TYPE_CHECKING:
    from studio.cli.parsing import Verbs


def add_to(verbs: Verbs) -> None:
    """Declare the verbs of this module."""
    check = add_verb(verbs, "doctor", doctor, "what this machine can do, or whether the home is in order")
    check.add_argument(
        "--fresh", action="store_true", help="look again instead of using what was found before"
    )
    check.add_argument(
        "--check-home",
        action="store_true",
        help="look for what is damaged or was left behind, and what takes room",
    )
    check.add_argument(
        "--repair", action="store_true", help="with --check-home: mend it; nobody's work is removed"
    )
    inner = add_verbs(add_verb(verbs, "models", list_models, "the models on this machine"))
    get = add_verb(inner, "get", get_model, "prepare the starter model, or fetch one from the hub")
    get.add_argument("model", help="`starter`, or a hub id such as Qwen/Qwen3-0.6B")
    get.add_argument("--revision")


def doctor(options: argparse.Namespace, store: Store) -> int:
    """What this machine can do, and what keeps it from doing more."""
    if options.check_home or options.repair:
        return check_home(options, store)
    from studio.engine import hub
    from studio.services import probe

    machine = probe.cached(store.machine_file) if not options.fresh else probe.renewed(store.machine_file)
    reachable = hub.reachable()
    problems = list(machine.problems)
    if not (store.models_dir / "starter").is_dir():
        problems.append("The starter model is not prepared: run `studio models get starter`.")
    data = {**machine.to_json(), "home": str(store.home), "hub_reachable": reachable, "problems": problems}
    if options.json:
        return print_json(data)
    print(f"device      {machine.device}: {machine.name}, {machine.cores} cores")
    print(f"memory      {size(machine.memory_bytes)}, {size(machine.free_bytes)} free")
    speeds = ", ".join(f"{name} {flops / 1e9:.0f} GFLOP/s" for name, flops in machine.flops.items())
    print(f"formats     {speeds}")
    print(f"4-bit       {'yes' if machine.can_qlora else 'no'}")
    print(f"hub         {'reachable' if reachable else 'not reachable'}")
    print(f"home        {store.home}")
    print(f"versions    {', '.join(f'{name} {version}' for name, version in machine.versions.items())}")
    for problem in problems:
        print(f"problem     {problem}")
    return DONE


def check_home(options: argparse.Namespace, store: Store) -> int:
    """What is not in order in the home; exit status 1 as long as something is not."""
    from studio.services import home_check

    found = home_check.flaws(store)
    mended = home_check.repair(found) if options.repair else []
    room = home_check.room(store)
    if options.json:
        print_json(
            {
                "home": str(store.home),
                "flaws": [
                    {
                        "kind": flaw.kind,
                        "path": str(flaw.path),
                        "message": str(flaw.message),
                        "remedy": str(flaw.remedy),
                        "can_repair": flaw.mend is not None,
                        "repaired": flaw in mended,
                    }
                    for flaw in found
                ],
                "room_bytes": {**room, "total": sum(room.values())},
            }
        )
    else:
        for flaw in found:
            print(f"{'repaired' if flaw in mended else 'problem ':11} {flaw.message}")
            print(f"{'':11} {flaw.path}")
            if flaw not in mended:
                print(f"{'':11} {flaw.remedy}")
        if not found:
            print(f"{'home':11} {store.home} is in order.")
        for part, taken in sorted(room.items(), key=lambda item: -item[1]):
            print(f"{part:11} {size(taken):>9}")
        if any(flaw.mend and flaw not in mended for flaw in found):
            print("\nstudio doctor --check-home --repair mends what says so.")
    return DONE if len(mended) == len(found) else AT_FAULT


def list_models(options: argparse.Namespace, store: Store) -> int:
    """The models on this machine."""
    from studio.engine.models import known

    found = [model.to_json() for model in known(store.models_dir)]
    if options.json:
        return print_json(found)
    if not found:
        print("No model yet. `studio models get starter` prepares one.")
    for model in found:
        print(f"{model['id']:30} {model['parameters'] / 1e6:9.0f} M  {model['source']:8} {model['path']}")
    return DONE


def get_model(options: argparse.Namespace, store: Store) -> int:
    """Prepare the starter model, or fetch one from the hub."""
    from studio.engine import models
    from studio.engine.starter import prepare_starter

    with shown_progress() as progress:
        if options.model == "starter":
            path = prepare_starter(store.models_dir, progress)
        else:
            path = models.locate(
                options.model, store.models_dir, revision=options.revision, progress=progress
            )
    info = models.inspect(path, options.model)
    if options.json:
        return print_json(info.to_json())
    print(f"{options.model} is ready: {info.parameters / 1e6:.0f} million parameters in {path}")
    return DONE
