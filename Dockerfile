# docker build -t sidecache .
# docker run --rm -p 127.0.0.1:8080:8080 -e UPSTREAM_URL=http://… sidecache

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# `sidecache --version` names it; the folder .git is not copied.
# docker build --build-arg SIDECACHE_COMMIT="$(git rev-parse --short HEAD)" …
ARG SIDECACHE_COMMIT
RUN cargo build --release --locked --bin sidecache

FROM debian:bookworm-slim
# Root certificates, for an upstream or a Redis over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/sidecache /usr/local/bin/sidecache
# A number, so that Kubernetes can tell that it is not root. Nothing is written unless LOG_FILE says so.
USER 10001:10001
# An empty folder: no .env of anybody's is read.
WORKDIR /run/sidecache
ENV LISTEN=0.0.0.0:8080
EXPOSE 8080
# The proxy itself, by its own port, and nothing behind it: `sidecache check --strict` would try the store and the
# service instead, which are no reason to restart this container. bash speaks TCP, so no curl is needed.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${LISTEN##*:} && printf 'GET /health/live HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r status <&3 && [[ $status == *' 200 '* ]]"]
# SIGTERM, which `docker stop` sends, drains.
ENTRYPOINT ["sidecache"]
