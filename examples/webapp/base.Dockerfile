# The system, which changes rarely. Its context is the directory that fetch.sh made.
FROM scratch
ADD base.tar /
CMD ["bash"]
