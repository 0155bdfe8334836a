"""What `ablate --dry_run` says of trials, programs and their cost."""

from lepton_jax.ablation.dry_run import AblationDryRun, PlannedProgram, PlannedSearch


def said(programs, searches=(), trials=("a",), ended=0):
    return str(AblationDryRun("Which?", trials, ended, programs, searches)).splitlines()


def test_one_is_one_and_little_is_little():
    assert said((PlannedProgram(("a",), 1, True, 0.2),)) == [
        *("Which?", "", "1 trial, of which 0 have ended:", "  a", ""),
        "1 program to compile; trials of one may run at once:",
        "  1 trial x 1 step, less than a second of this device",
        "In all less than a second of this device, without compilation and evaluations.",
    ]


def test_costs_add_up_where_they_are_known():
    program = PlannedProgram(("a", "b"), 1_000, True, 12.4)
    lines = said((program, program), (PlannedSearch("lr", 9, 4.5, 30.0),), ("a", "b"), 1)
    assert lines[2] == "2 trials, of which 1 has ended:"
    assert lines[6:] == [
        "2 programs to compile; trials of one may run at once:",
        *["  2 trials x 1,000 steps, at most 12 s of this device"] * 2,
        "search lr: 9 draws, 4.5 whole runs, about 30 s of this device",
        "In all at most 55 s of this device, without compilation and evaluations.",
    ]


def test_what_a_program_costs_to_compile_is_told():
    program = PlannedProgram(("a", "b"), 1_000, True, 12.4, compiling=3.2)
    assert said((program, program), (), ("a", "b"))[-3:] == [
        *["  2 trials x 1,000 steps, at most 12 s of this device, and about 3 s to compile it"] * 2,
        "In all at most 25 s of this device, and about 6 s to compile, without evaluations.",
    ]
    unknown = said((PlannedProgram(("a",), 5, False, 0.0),))
    assert unknown[-1].startswith("  1 trial x 5 steps, cost unknown, one after another")
