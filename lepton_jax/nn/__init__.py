"""Building blocks of models: layers, attention, recurrent cells, random keys, collectives."""
