"""An experiment's runs: packs of trials, and what executes them."""
