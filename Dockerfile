# CPU image that runs the grid and detects:
#   docker build -t crnn-weak .
#   docker run --rm -v "$PWD/work:/work" crnn-weak grid
#   docker run --rm -v "$PWD/work:/work" crnn-weak detect street.wav
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends libsndfile1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/crnn_weak
COPY requirements.txt ./
RUN python -m pip install --no-cache-dir --requirement requirements.txt
COPY setup.py pyproject.toml README.md LICENSE ./
COPY crnn_weak crnn_weak
RUN python -m pip install --no-cache-dir --no-deps .

RUN useradd --create-home user && mkdir /work && chown user /work
USER user
WORKDIR /work
ENTRYPOINT ["crnn-weak"]
CMD ["--help"]
