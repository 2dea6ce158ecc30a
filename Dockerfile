# All images: one target for each service, and `sidecar`, the nginx beside it in its pod.
#     docker build --target orders -t NAME/orders .
# Each layer holds what changes less often than the next one: a new .c file of a service compiles that service and nothing else.
ARG DEBIAN=debian:12.12-slim

# --- building --------------------------------------------------------------------------------------------------------------

FROM ${DEBIAN} AS tools
RUN apt-get update && apt-get install -y --no-install-recommends \
        autoconf automake gcc libc6-dev libcunit1-dev libcurl4-openssl-dev libfcgi-dev libhiredis-dev libjson-c-dev libjwt-dev \
        libmongoc-dev libnats-dev libsodium-dev make pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY configure.ac Makefile.am ./
COPY t/Makefile-t.am t/
COPY lib/ticketing.pc.in lib/
# configure looks for one source file; the real ones come below, so that they don't have it run again.
RUN touch lib/service.h && autoreconf && ./configure -q

FROM tools AS library
COPY lib lib
RUN make -s -j"$(nproc)" lib/libticketing.a

FROM library AS build-auth
COPY fcgi/auth fcgi/auth
RUN make -s -j"$(nproc)" fcgi/auth/auth && strip fcgi/auth/auth

FROM library AS build-stuff
COPY fcgi/stuff fcgi/stuff
RUN make -s -j"$(nproc)" fcgi/stuff/stuff && strip fcgi/stuff/stuff

FROM library AS build-orders
COPY fcgi/orders fcgi/orders
RUN make -s -j"$(nproc)" fcgi/orders/orders && strip fcgi/orders/orders

FROM library AS build-expiration
COPY fcgi/expiration fcgi/expiration
RUN make -s -j"$(nproc)" fcgi/expiration/expiration && strip fcgi/expiration/expiration

FROM library AS build-payments
COPY fcgi/payments fcgi/payments
RUN make -s -j"$(nproc)" fcgi/payments/payments && strip fcgi/payments/payments

FROM library AS build-storefront
COPY fcgi/storefront/*.[ch] fcgi/storefront/
RUN make -s -j"$(nproc)" fcgi/storefront/storefront && strip fcgi/storefront/storefront

# --- running ---------------------------------------------------------------------------------------------------------------

# What every service is linked with, or loads to send its spans; a pod is allowed no other user than this one.
FROM ${DEBIAN} AS runtime
RUN apt-get update && apt-get install -y --no-install-recommends \
        ca-certificates libcurl4 libfcgi0ldbl libjson-c5 libjwt0 libmongoc-1.0-0 libnats3.4 libsodium23 \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
# The driver's counters are nobody's to read, and a pod has no memory to share.
ENV MONGOC_DISABLE_SHM=1
USER 10001:10001

FROM runtime AS auth
COPY --from=build-auth /src/fcgi/auth/auth /usr/local/bin/
CMD ["auth"]

FROM runtime AS stuff
COPY --from=build-stuff /src/fcgi/stuff/stuff /usr/local/bin/
CMD ["stuff"]

FROM runtime AS orders
COPY --from=build-orders /src/fcgi/orders/orders /usr/local/bin/
CMD ["orders"]

FROM runtime AS expiration
USER root
RUN apt-get update && apt-get install -y --no-install-recommends libhiredis0.14 \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
USER 10001:10001
COPY --from=build-expiration /src/fcgi/expiration/expiration /usr/local/bin/
CMD ["expiration"]

FROM runtime AS payments
COPY --from=build-payments /src/fcgi/payments/payments /usr/local/bin/
CMD ["payments"]

FROM runtime AS storefront
COPY --chown=10001:10001 fcgi/storefront/templates /usr/local/share/storefront/templates
COPY --chown=10001:10001 fcgi/storefront/static /usr/local/share/storefront/static
COPY --from=build-storefront /src/fcgi/storefront/storefront /usr/local/bin/
CMD ["storefront"]

# The same for all services. SIGQUIT lets requests in hand be finished.
FROM ${DEBIAN} AS sidecar
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
COPY --chown=10001:10001 nginx /etc/nginx/ticketing
COPY --chown=10001:10001 fcgi/storefront/static /usr/local/share/storefront/static
USER 10001:10001
STOPSIGNAL SIGQUIT
CMD ["nginx", "-e", "stderr", "-c", "/etc/nginx/ticketing/sidecar.conf"]

# For clusters without an account at Stripe: the tests' own gateway, which believes every card.
FROM ${DEBIAN} AS gateway
RUN apt-get update && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
COPY t/gateway.py /usr/local/lib/
USER 10001:10001
CMD ["python3", "-u", "/usr/local/lib/gateway.py", "8000", "/data/books.json", "0.0.0.0"]
