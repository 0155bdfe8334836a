"""What production needs: it stands on a bundle alone and imports nothing else of lepton_jax."""
