"""Log mel-band energies, their standardization, and the HDF5 store."""
