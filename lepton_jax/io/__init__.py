"""Reading and writing whole files on a disk or in a bucket; where caches and registries lie."""
