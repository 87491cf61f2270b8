# chipshot in a container: build with the same steps as `make`, run as a user without rights, data in a
# volume. The service listens on all of the container's interfaces, so it needs an API key:
#
#     docker build -t chipshot .
#     docker run --rm -v chipshot:/data chipshot key create laboratory
#     docker run -p 127.0.0.1:8080:8080 -v chipshot:/data chipshot

FROM debian:trixie-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends make ca-certificates
WORKDIR /src
COPY . .
RUN ./deps.sh build && make && build/chipshot --version

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libmicrohttpd12t64 libjansson4 libpng16-16t64 \
        libsqlite3-0 libnettle8t64 zlib1g libisal2 libopenblas0-serial curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home chipshot \
    && install -d -m 0700 -o chipshot -g chipshot /data
COPY --from=build /src/build/chipshot /usr/local/bin/chipshot
COPY --from=build /src/LICENSE /usr/share/doc/chipshot/LICENSE
USER chipshot
VOLUME /data
ENV CHIPSHOT_DATA=/data CHIPSHOT_LISTEN=0.0.0.0:8080 CHIPSHOT_BACKGROUND=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s CMD curl -fsS http://127.0.0.1:8080/livez || exit 1
ENTRYPOINT ["chipshot"]
CMD ["serve"]
