"""Pictures of a record: curves, confusion, images, boxes, attention."""

import logging

# Where HOME cannot be written, it would tell at length that its fonts are listed anew.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
