"""How fast the lab is, as ratios against a limit measured side by side in the same run."""
