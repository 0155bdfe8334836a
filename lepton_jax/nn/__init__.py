"""What models are made of: layers, attention, cells, random numbers, sums over the batch."""
