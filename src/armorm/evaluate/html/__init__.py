"""Reports, audits and protocol results as pages: one self-contained file each, no network."""
