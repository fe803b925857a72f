# What serves, which changes seldom. Its context is the directory that fetch.sh made.
FROM webapp-base
COPY debs /tmp/debs
RUN DEBIAN_FRONTEND=noninteractive dpkg -i -R /tmp/debs && rm -r /tmp/debs
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
