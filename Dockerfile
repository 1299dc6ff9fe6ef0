# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# .git comes along: the go command stamps the revision that `sfbroker version` prints.
COPY . .
RUN make build && install -d -m 0700 /out/state

# No shell, no package manager, user 65532.
FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /src/bin/sfbroker /sfbroker
COPY --from=build --chown=65532:65532 /out/state /var/lib/sfbroker
# What must outlast the container: the count of failed logons, the admin token.
# STATE_DIRECTORY is where the broker keeps it when the configuration names no state.dir.
ENV STATE_DIRECTORY=/var/lib/sfbroker
VOLUME ["/var/lib/sfbroker"]
# 8020 is the proxy, 8021 admin, probes and metrics. Both listen on loopback until the configuration
# says otherwise, and beyond loopback they want TLS.
EXPOSE 8020 8021
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
	CMD ["/sfbroker", "status", "--check", "--config", "/etc/sfbroker/sfbroker.yaml"]
ENTRYPOINT ["/sfbroker"]
CMD ["serve", "--config", "/etc/sfbroker/sfbroker.yaml"]
