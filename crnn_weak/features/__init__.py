"""Log mel-band energies, their standardisation, and the HDF5 store."""
