FROM rust:1-bookworm AS build
WORKDIR /build
COPY . .
RUN cargo build --release --locked --bin streamrun

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /work streamrun
COPY --from=build /build/target/release/streamrun /usr/local/bin/streamrun
COPY LICENSE /usr/share/doc/streamrun/LICENSE
USER 10001
# Relative paths in pipelines start here.
WORKDIR /work
ENTRYPOINT ["streamrun"]
CMD ["/pipelines"]
