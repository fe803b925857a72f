;; A guest that does what its arguments say, one command after another:
;;
;;   print TEXT, complain TEXT (to stderr), env, stdin, cat PATH, write PATH TEXT,
;;   append PATH TEXT, patch PATH OFFSET TEXT, cut PATH SIZE, new PATH (must not exist),
;;   rm PATH, mkdir PATH, rmdir PATH, mv OLD NEW, ln OLD NEW, symlink TARGET PATH,
;;   readlink PATH, ls PATH, stat PATH, lstat PATH, exit CODE, abort, spin, sleep,
;;   grow (until there is no more, then trap), recurse, args (prints the rest), strict (what
;;   fails from here on ends the guest with 1)
;;
;; A call that fails is told as `errno N`, in the numbers of WASI 0.1. Paths are relative to
;; the root. ls prints names; stat prints the file's type (3 directory, 4 file, 7 link) and size.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink" (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $path_stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 4)

  ;; 0: an iovec, 16: what a call returns, 64: a number's digits, 128: a stat or subscription,
  ;; 256: texts, 1024: command names, 4096: pointers to arguments, 8192: arguments,
  ;; 131072: data
  (data (i32.const 256) "errno \0a")
  (data (i32.const 264) "ready\0a")
  (data (i32.const 1024) "print\00")     (data (i32.const 1040) "complain\00")
  (data (i32.const 1056) "env\00")       (data (i32.const 1072) "stdin\00")
  (data (i32.const 1088) "cat\00")       (data (i32.const 1104) "write\00")
  (data (i32.const 1120) "append\00")    (data (i32.const 1136) "patch\00")
  (data (i32.const 1152) "cut\00")       (data (i32.const 1168) "new\00")
  (data (i32.const 1184) "rm\00")        (data (i32.const 1200) "mkdir\00")
  (data (i32.const 1216) "rmdir\00")     (data (i32.const 1232) "mv\00")
  (data (i32.const 1248) "ln\00")        (data (i32.const 1264) "symlink\00")
  (data (i32.const 1280) "readlink\00")  (data (i32.const 1296) "ls\00")
  (data (i32.const 1312) "stat\00")      (data (i32.const 1328) "lstat\00")
  (data (i32.const 1344) "exit\00")      (data (i32.const 1360) "abort\00")
  (data (i32.const 1376) "spin\00")      (data (i32.const 1392) "sleep\00")
  (data (i32.const 1408) "grow\00")      (data (i32.const 1424) "recurse\00")
  (data (i32.const 1440) "args\00")      (data (i32.const 1456) "strict\00")

  (global $argc (mut i32) (i32.const 0))
  (global $next (mut i32) (i32.const 1))
  (global $strict (mut i32) (i32.const 0))

  (func $len (param $at i32) (result i32) (local $n i32)
    (block $end (loop $more
      (br_if $end (i32.eqz (i32.load8_u (i32.add (local.get $at) (local.get $n)))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br $more)))
    (local.get $n))

  (func $equal (param $a i32) (param $b i32) (result i32)
    (loop $more
      (if (i32.ne (i32.load8_u (local.get $a)) (i32.load8_u (local.get $b))) (then (return (i32.const 0))))
      (if (i32.eqz (i32.load8_u (local.get $a))) (then (return (i32.const 1))))
      (local.set $a (i32.add (local.get $a) (i32.const 1)))
      (local.set $b (i32.add (local.get $b) (i32.const 1)))
      (br $more))
    (unreachable))

  (func $out (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (call $check (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16))))

  (func $line (param $fd i32) (param $at i32)
    (call $out (local.get $fd) (local.get $at) (call $len (local.get $at)))
    (call $newline (local.get $fd)))

  (func $newline (param $fd i32) (call $out (local.get $fd) (i32.const 262) (i32.const 1)))

  (func $number (param $n i64) (local $at i32)
    (local.set $at (i32.const 96))
    (loop $more
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10)))))
      (local.set $n (i64.div_u (local.get $n) (i64.const 10)))
      (br_if $more (i64.ne (local.get $n) (i64.const 0))))
    (call $out (i32.const 1) (local.get $at) (i32.sub (i32.const 96) (local.get $at))))

  (func $check (param $errno i32)
    (if (local.get $errno) (then
      (call $out (i32.const 1) (i32.const 256) (i32.const 6))
      (call $number (i64.extend_i32_u (local.get $errno)))
      (call $newline (i32.const 1))
      (if (global.get $strict) (then (call $proc_exit (i32.const 1)))))))

  ;; The next argument, or the empty one.
  (func $arg (result i32) (local $at i32)
    (if (i32.ge_u (global.get $next) (global.get $argc)) (then (return (i32.const 60))))
    (local.set $at (i32.load (i32.add (i32.const 4096) (i32.mul (global.get $next) (i32.const 4)))))
    (global.set $next (i32.add (global.get $next) (i32.const 1)))
    (local.get $at))

  (func $value (param $at i32) (result i64) (local $n i64)
    (block $end (loop $more
      (br_if $end (i32.eqz (i32.load8_u (local.get $at))))
      (local.set $n (i64.add (i64.mul (local.get $n) (i64.const 10))
        (i64.extend_i32_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $more)))
    (local.get $n))

  ;; Opens a path; -1 when that failed, which is told.
  (func $open (param $path i32) (param $oflags i32) (param $rights i64) (param $fdflags i32) (result i32) (local $errno i32)
    (local.set $errno (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (call $len (local.get $path))
      (local.get $oflags) (local.get $rights) (i64.const 0) (local.get $fdflags) (i32.const 16)))
    (call $check (local.get $errno))
    (select (i32.const -1) (i32.load (i32.const 16)) (local.get $errno)))

  ;; Copies an open file to stdout.
  (func $copy (param $fd i32) (local $errno i32)
    (block $end (loop $more
      (i32.store (i32.const 0) (i32.const 131072))
      (i32.store (i32.const 4) (i32.const 65536))
      (local.set $errno (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 16)))
      (call $check (local.get $errno))
      (br_if $end (i32.or (local.get $errno) (i32.eqz (i32.load (i32.const 16)))))
      (call $out (i32.const 1) (i32.const 131072) (i32.load (i32.const 16)))
      (br $more))))

  (func $cat (local $fd i32)
    (local.set $fd (call $open (call $arg) (i32.const 0) (i64.const 2) (i32.const 0)))
    (if (i32.ne (local.get $fd) (i32.const -1)) (then
      (call $copy (local.get $fd))
      (call $check (call $fd_close (local.get $fd))))))

  ;; Opens to write, moves to an offset if that is not negative, and writes.
  (func $store (param $path i32) (param $oflags i32) (param $fdflags i32) (param $offset i64) (param $text i32) (local $fd i32)
    (local.set $fd (call $open (local.get $path) (local.get $oflags) (i64.const 70) (local.get $fdflags)))
    (if (i32.eq (local.get $fd) (i32.const -1)) (then (return)))
    (if (i64.ge_s (local.get $offset) (i64.const 0)) (then
      (call $check (call $fd_seek (local.get $fd) (local.get $offset) (i32.const 0) (i32.const 24)))))
    (call $out (local.get $fd) (local.get $text) (call $len (local.get $text)))
    (call $check (call $fd_close (local.get $fd))))

  (func $cut (param $path i32) (param $size i64) (local $fd i32)
    (local.set $fd (call $open (local.get $path) (i32.const 0) (i64.const 4194370) (i32.const 0)))
    (if (i32.ne (local.get $fd) (i32.const -1)) (then
      (call $check (call $set_size (local.get $fd) (local.get $size)))
      (call $check (call $fd_close (local.get $fd))))))

  (func $stat (param $flags i32) (local $path i32) (local $errno i32)
    (local.set $path (call $arg))
    (local.set $errno (call $path_stat (i32.const 3) (local.get $flags) (local.get $path) (call $len (local.get $path)) (i32.const 128)))
    (call $check (local.get $errno))
    (if (i32.eqz (local.get $errno)) (then
      (call $number (i64.load8_u (i32.const 144)))
      (i32.store8 (i32.const 63) (i32.const 32))
      (call $out (i32.const 1) (i32.const 63) (i32.const 1))
      (call $number (i64.load (i32.const 160)))
      (call $newline (i32.const 1)))))

  (func $list (local $fd i32) (local $at i32) (local $end i32) (local $size i32)
    (local.set $fd (call $open (call $arg) (i32.const 2) (i64.const 16384) (i32.const 0)))
    (if (i32.eq (local.get $fd) (i32.const -1)) (then (return)))
    (call $check (call $fd_readdir (local.get $fd) (i32.const 131072) (i32.const 65536) (i64.const 0) (i32.const 16)))
    (local.set $at (i32.const 131072))
    (local.set $end (i32.add (local.get $at) (i32.load (i32.const 16))))
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $size (i32.load offset=16 (local.get $at)))
      ;; Not `.` and `..`, which the adapter adds.
      (if (i32.ne (i32.load8_u offset=24 (local.get $at)) (i32.const 46)) (then
        (call $out (i32.const 1) (i32.add (local.get $at) (i32.const 24)) (local.get $size))
        (call $newline (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.add (i32.const 24) (local.get $size))))
      (br $more)))
    (call $check (call $fd_close (local.get $fd))))

  (func $environment (local $n i32) (local $i i32)
    (call $check (call $env_sizes (i32.const 16) (i32.const 20)))
    (local.set $n (i32.load (i32.const 16)))
    (call $check (call $env_get (i32.const 131072) (i32.const 140000)))
    (block $end (loop $more
      (br_if $end (i32.ge_u (local.get $i) (local.get $n)))
      (call $line (i32.const 1) (i32.load (i32.add (i32.const 131072) (i32.mul (local.get $i) (i32.const 4)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $more))))

  (func $two (param $call i32) (local $a i32) (local $b i32) (local $la i32) (local $lb i32)
    (local.set $a (call $arg)) (local.set $la (call $len (local.get $a)))
    (local.set $b (call $arg)) (local.set $lb (call $len (local.get $b)))
    (block $symlink (block $link (block $rename (br_table $rename $link $symlink (local.get $call)))
        (return (call $check (call $rename (i32.const 3) (local.get $a) (local.get $la) (i32.const 3) (local.get $b) (local.get $lb)))))
      (return (call $check (call $link (i32.const 3) (i32.const 0) (local.get $a) (local.get $la) (i32.const 3) (local.get $b) (local.get $lb)))))
    (call $check (call $symlink (local.get $a) (local.get $la) (i32.const 3) (local.get $b) (local.get $lb))))

  (func $target (local $path i32) (local $errno i32)
    (local.set $path (call $arg))
    (local.set $errno (call $readlink (i32.const 3) (local.get $path) (call $len (local.get $path)) (i32.const 131072) (i32.const 4096) (i32.const 16)))
    (call $check (local.get $errno))
    (if (i32.eqz (local.get $errno)) (then
      (call $out (i32.const 1) (i32.const 131072) (i32.load (i32.const 16)))
      (call $newline (i32.const 1)))))

  (func $spin (call $out (i32.const 1) (i32.const 264) (i32.const 6)) (loop $more (br $more)))

  ;; Polls the monotonic clock for a year.
  (func $sleep
    (call $out (i32.const 1) (i32.const 264) (i32.const 6))
    (memory.fill (i32.const 128) (i32.const 0) (i32.const 48))
    (i32.store (i32.const 144) (i32.const 1))
    (i64.store (i32.const 152) (i64.const 31536000000000000))
    (call $check (call $poll (i32.const 128) (i32.const 512) (i32.const 1) (i32.const 16))))

  (func $grow
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (unreachable))

  (func $recurse (param $n i32) (result i32)
    (i32.add (local.get $n) (call $recurse (i32.add (local.get $n) (i32.const 1)))))

  (func $one (param $path i32) (param $call i32) (local $length i32)
    (local.set $length (call $len (local.get $path)))
    (block $rmdir (block $mkdir (block $rm (br_table $rm $mkdir $rmdir (local.get $call)))
        (return (call $check (call $unlink (i32.const 3) (local.get $path) (local.get $length)))))
      (return (call $check (call $mkdir (i32.const 3) (local.get $path) (local.get $length)))))
    (call $check (call $rmdir (i32.const 3) (local.get $path) (local.get $length))))

  (func $do (param $command i32)
    (block $27 (block $26 (block $25 (block $24 (block $23 (block $22 (block $21 (block $20 (block $19 (block $18
    (block $17 (block $16 (block $15 (block $14 (block $13 (block $12 (block $11 (block $10
    (block $9 (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1
    (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $10 $11 $12 $13 $14 $15 $16 $17 $18 $19 $20 $21 $22
        $23 $24 $25 $26 $27 (local.get $command)))
      (return (call $line (i32.const 1) (call $arg))))
      (return (call $line (i32.const 2) (call $arg))))
      (return (call $environment)))
      (return (call $copy (i32.const 0))))
      (return (call $cat)))
      (return (call $store (call $arg) (i32.const 9) (i32.const 0) (i64.const -1) (call $arg))))
      (return (call $store (call $arg) (i32.const 1) (i32.const 1) (i64.const -1) (call $arg))))
      (return (call $store (call $arg) (i32.const 0) (i32.const 0) (call $value (call $arg)) (call $arg))))
      (return (call $cut (call $arg) (call $value (call $arg)))))
      (return (call $store (call $arg) (i32.const 5) (i32.const 0) (i64.const -1) (i32.const 60))))
      (return (call $one (call $arg) (i32.const 0))))
      (return (call $one (call $arg) (i32.const 1))))
      (return (call $one (call $arg) (i32.const 2))))
      (return (call $two (i32.const 0))))
      (return (call $two (i32.const 1))))
      (return (call $two (i32.const 2))))
      (return (call $target)))
      (return (call $list)))
      (return (call $stat (i32.const 1))))
      (return (call $stat (i32.const 0))))
      (call $proc_exit (i32.wrap_i64 (call $value (call $arg)))))
      (unreachable))
      (return (call $spin)))
      (return (call $sleep)))
      (return (call $grow)))
      (drop (call $recurse (i32.const 0))) (return))
      (block $end (loop $more
        (br_if $end (i32.ge_u (global.get $next) (global.get $argc)))
        (call $line (i32.const 1) (call $arg))
        (br $more)))
      (return))
      (global.set $strict (i32.const 1)))

  (func (export "_start") (local $command i32) (local $word i32)
    (drop (call $args_sizes (i32.const 16) (i32.const 20)))
    (global.set $argc (i32.load (i32.const 16)))
    (drop (call $args_get (i32.const 4096) (i32.const 8192)))
    (block $end (loop $more
      (br_if $end (i32.ge_u (global.get $next) (global.get $argc)))
      (local.set $word (call $arg))
      (local.set $command (i32.const 0))
      (block $known (loop $search
        (br_if $known (call $equal (local.get $word) (i32.add (i32.const 1024) (i32.mul (local.get $command) (i32.const 16)))))
        (local.set $command (i32.add (local.get $command) (i32.const 1)))
        (br_if $search (i32.lt_u (local.get $command) (i32.const 28)))
        (unreachable)))
      (call $do (local.get $command))
      (br $more)))))
