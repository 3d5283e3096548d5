"""Packaging. The ranges are lower bounds that were tested; requirements.txt holds the exact versions."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="crnn-weak",
    version="0.1.0",
    description="Sound event detection from weak labels: the CRNN of Adavanne & Virtanen (DCASE 2017), runnable again",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["crnn_weak", "crnn_weak.*"]),
    package_data={"crnn_weak": ["py.typed", "report/templates/*", "synthesis/*.json", "everyday/*"]},
    # TensorFlow comes by an extra, because there are two of it (tensorflow, tensorflow-cpu) and because Keras also
    # trains on JAX or PyTorch.
    install_requires=[
        "keras>=3.12",
        "numpy>=1.26",
        "scipy>=1.13",
        "librosa>=0.11",
        "soundfile>=0.13",
        "soxr>=0.5",
        "h5py>=3.11",
        "scikit-learn>=1.5",
        "dcase_util>=0.2.20",
        "sed_eval>=0.2.1",
        "matplotlib>=3.9",
        "joblib>=1.4",
        "tqdm>=4.66",
        "Jinja2>=3.1",
        "msgspec>=0.18",
        "filelock>=4.3",
        "tomli-w>=1.0",
        "setuptools<82",
    ],
    extras_require={
        "cpu": ["tensorflow-cpu>=2.18"],
        "tensorflow": ["tensorflow>=2.18"],
        "gpu": ["tensorflow[and-cuda]>=2.18"],
        "dask": ["dask>=2025.1", "distributed>=2025.1"],
        "psds": ["sed_scores_eval>=0.0.4", "pandas<3"],
        "tensorboard": ["tensorboard>=2.18"],
        "onnx": ["onnx>=1.16", "tf2onnx>=1.16"],
        "benchmarks": ["torch>=2.5", "psutil>=5.9"],
    },
    entry_points={"console_scripts": ["crnn-weak = crnn_weak.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
