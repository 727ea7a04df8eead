"""Reading rows: files and hubs to rows, scales, splits, pairs from ratings, summaries; no tensors."""
