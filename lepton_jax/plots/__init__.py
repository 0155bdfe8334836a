"""Pictures of a record: curves, confusion, images, boxes, attention."""
