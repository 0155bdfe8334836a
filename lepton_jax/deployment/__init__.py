"""What a cluster needs to serve a bundle: an image's recipe, and manifests."""
