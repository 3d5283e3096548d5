# CPU image that runs the grid and detects:
#   docker build -t crnn-weak .
#   docker run --rm -v "$PWD/work:/work" crnn-weak grid
#   docker run --rm -v "$PWD/work:/work" crnn-weak detect street.wav
# The wheel of soundfile brings libsndfile.
FROM python:3.12-slim

WORKDIR /opt/crnn_weak
COPY requirements.txt ./
RUN python -m pip install --no-cache-dir --requirement requirements.txt
COPY setup.py pyproject.toml README.md LICENSE ./
COPY crnn_weak crnn_weak
RUN python -m pip install --no-cache-dir --no-deps .

RUN useradd --uid 1000 --create-home user && mkdir /work && chown 1000 /work
USER 1000
WORKDIR /work
ENTRYPOINT ["crnn-weak"]
CMD ["--help"]
