"""Measurements beside other programs, and of machines that are not at hand.

Each script is a module, `python -m benchmarks.NAME`, run from the repository's root; its docstring
says what it measures, what it needs, and a size at which it ends in seconds. `measuring.py` is what
they share. tests/test_benchmarks.py runs every one of them at that size.

train_step          a training step beside torch          faults           runs that survive faults
embed_speed         encoding beside sentence-transformers pods.memory      a chip's memory by batch
mine_against_faiss  mining beside FAISS                   pods.processes   losses on several hosts
import_parity       hidden states beside transformers     pods.start_up    time to the first step
import_memory       memory of an import                   systems.corpus   the texts of systems/
plan_formula        `plan`'s formula beside a compiler    systems.rtl_plot RTL's settings, as a plot
tr_against_dap      the demo with and without RTL         systems/         nine systems, as a sweep
prepare_speed       preparing data, and the loader        checkpoint_stall what a save costs a run
start_up            imports, commands, a first vector     padding          tokens that are padding
step_costs          what compilers count of a step        batch_sizes      time a pair by the batch
"""
