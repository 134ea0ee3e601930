# syntax=docker/dockerfile:1
# docker build -t sidecache .
# docker run --rm --read-only -p 127.0.0.1:8080:8080 -e UPSTREAM_URL=http://… sidecache
# docker buildx build --platform linux/amd64,linux/arm64 -t … .
#
# The image has a static binary, the root certificates, its SBOM and the licences of what is in it: no shell, no package
# manager.

# The compiler runs on the machine that builds, and makes binaries for others as well.
FROM --platform=$BUILDPLATFORM rust:1-slim-bookworm AS build
ARG BUILDARCH
ARG TARGETARCH
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        case "$TARGETARCH" in \
            amd64) apt-get install -y --no-install-recommends gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;; \
            arm64) apt-get install -y --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;; \
        esac; \
    fi \
    && rm -rf /var/lib/apt/lists/*
RUN case "$TARGETARCH" in amd64) echo x86_64 ;; arm64) echo aarch64 ;; esac > /machine \
    && rustup target add "$(cat /machine)-unknown-linux-gnu"
WORKDIR /src
COPY . .
# `sidecache --version` names it; the folder .git is not copied.
# docker build --build-arg SIDECACHE_COMMIT="$(git rev-parse --short HEAD)" …
ARG SIDECACHE_COMMIT
# What is downloaded and built of the dependencies stays for the next build on this machine.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    target=$(cat /machine)-unknown-linux-gnu \
    && binary=$(bash scripts/static.sh "$target") \
    && bash scripts/image.sh "$binary" "$target" /image

FROM scratch
ARG SIDECACHE_COMMIT
ARG SIDECACHE_VERSION=0.1.0
LABEL org.opencontainers.image.title="sidecache" \
    org.opencontainers.image.description="A caching sidecar reverse proxy for RAG and LLM services" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$SIDECACHE_VERSION" \
    org.opencontainers.image.revision="$SIDECACHE_COMMIT"
COPY --from=build /image/ /
ENV PATH=/usr/local/bin LISTEN=0.0.0.0:8080
# A number, so that Kubernetes can tell that it is not root. Nothing is written unless LOG_FILE says so.
USER 10001:10001
# An empty folder: no .env of anybody's is read.
WORKDIR /run/sidecache
EXPOSE 8080
# The proxy itself, and nothing behind it: the store and the service are no reason to restart this container.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/sidecache", "health", "--live"]
# SIGTERM, which `docker stop` sends, drains.
ENTRYPOINT ["/usr/local/bin/sidecache"]
