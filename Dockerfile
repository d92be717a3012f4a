# Two stages: a builder with Go, and nothing but the binary with what it asks of
# the system: certificates to trust, time zones, a user who is not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/reconciler ./cmd/reconciler
# A root directory for scratch: the user, and a place for temporary files that
# the user may write.
RUN mkdir -p /out/root/etc /out/root/tmp \
 && echo 'reconciler:x:65532:65532::/:/sbin/nologin' > /out/root/etc/passwd \
 && echo 'reconciler:x:65532:' > /out/root/etc/group \
 && chmod 1777 /out/root/tmp

FROM scratch
COPY --from=build /out/root/ /
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /usr/local/go/lib/time/zoneinfo.zip /zoneinfo.zip
ENV ZONEINFO=/zoneinfo.zip
COPY --from=build /out/reconciler /usr/local/bin/reconciler
# Every command in the container finds the configuration; its directory is
# mounted, so that a change of it is seen.
ENV RECONCILER_CONFIG=/etc/reconciler/reconciler.yaml
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/reconciler"]
CMD ["run"]
