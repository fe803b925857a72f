;; The WebAssembly half of the image `hello`: says what stands between it and the host, as far
;; as a module can measure that from the inside.
;;
;; Texts lie at fixed addresses and end in a zero byte; output gathers at $out and is written
;; once, at the end. Results of WASI calls are written at address 0 and up.
(module
  ;; All that this module can ask of anyone. What is not imported does not exist for it.
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param $fd i32) (param $iovs i32) (param $count i32) (param $written i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param $fd i32) (param $iovs i32) (param $count i32) (param $read i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get"
    (func $fd_prestat_get (param $fd i32) (param $prestat i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name"
    (func $fd_prestat_dir_name (param $fd i32) (param $path i32) (param $length i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param $dir i32) (param $lookup i32) (param $path i32) (param $length i32) (param $oflags i32)
      (param $rights i64) (param $inheriting i64) (param $flags i32) (param $fd i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get"
    (func $args_sizes_get (param $count i32) (param $bytes i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get"
    (func $environ_sizes_get (param $count i32) (param $bytes i32) (result i32)))

  (memory (export "memory") 1)
  (global $out i32 (i32.const 0x8000))
  (global $end (mut i32) (i32.const 0x8000))

  (data (i32.const 0x1000) "\nI am the wasi/wasm half of this image, a WebAssembly module that silo compiled;\n\00")
  (data (i32.const 0x1080) "the wasi backend runs me, without a virtual machine. Measured from the inside:\n\n\00")
  (data (i32.const 0x1100) "  memory         \00")
  (data (i32.const 0x1140) " KiB of my own; I have no address for anything outside of it\n\00")
  (data (i32.const 0x1200) "  functions      7 that I may call, all of wasi_snapshot_preview1: files, arguments, environment\n\00")
  (data (i32.const 0x1280) "  system calls   none: there is no instruction for one\n\00")
  (data (i32.const 0x1300) "  network        none: I was given no function that makes or takes a connection\n\00")
  (data (i32.const 0x1380) "  processes      none: I can neither see nor start any\n\00")
  (data (i32.const 0x1400) "  arguments      \00")
  (data (i32.const 0x1440) "; environment: \00")
  (data (i32.const 0x1480) " variables\n\00")
  (data (i32.const 0x14c0) "  directories    opened for me:\00")
  (data (i32.const 0x1500) "  files          \00")
  (data (i32.const 0x1540) "                 \00")
  (data (i32.const 0x1580) " opens: it is in my image\n\00")
  (data (i32.const 0x15c0) " is not there\n\00")
  (data (i32.const 0x1600) " is refused\n\00")
  (data (i32.const 0x1640) " fails with WASI error \00")
  (data (i32.const 0x1680) " OPENS: that should not be\n\00")
  (data (i32.const 0x16c0) " none\00")
  (data (i32.const 0x1700) "\n\00")
  (data (i32.const 0x1710) " \00")
  (data (i32.const 0x1740) "\nThe other half, on Linux: silo run --platform linux hello\n\00")
  (data (i32.const 0x1800) "greeting.txt\00")
  (data (i32.const 0x1840) "../../etc/passwd\00")
  (data (i32.const 0x1880) "/proc/self/environ\00")
  (data (i32.const 0x18c0) "C:/Windows/win.ini\00")

  (func $length (param $text i32) (result i32)
    (local $at i32)
    (local.set $at (local.get $text))
    (block $found
      (loop $next
        (br_if $found (i32.eqz (i32.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $at) (local.get $text)))

  (func $put (param $from i32) (param $length i32)
    (memory.copy (global.get $end) (local.get $from) (local.get $length))
    (global.set $end (i32.add (global.get $end) (local.get $length))))

  (func $say (param $text i32)
    (call $put (local.get $text) (call $length (local.get $text))))

  (func $number (param $value i32)
    (if (i32.ge_u (local.get $value) (i32.const 10))
      (then (call $number (i32.div_u (local.get $value) (i32.const 10)))))
    (i32.store8 (i32.const 0) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
    (call $put (i32.const 0) (i32.const 1)))

  ;; Opens a path, to read, from the first directory: 0, or WASI's error; the file's at 0x40.
  (func $open (param $path i32) (result i32)
    (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (call $length (local.get $path))
      (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 0x40)))

  ;; The greeting lies in a layer that both halves of the image share.
  (func $greet
    (if (i32.eqz (call $open (i32.const 0x1800)))
      (then
        (i32.store (i32.const 0) (i32.const 0x4000))
        (i32.store (i32.const 4) (i32.const 0x400))
        (if (i32.eqz (call $fd_read (i32.load (i32.const 0x40)) (i32.const 0) (i32.const 1) (i32.const 8)))
          (then (call $put (i32.const 0x4000) (i32.load (i32.const 8))))))))

  ;; Names every directory that was opened before the first instruction: file 3 and up.
  (func $directories
    (local $fd i32)
    (call $say (i32.const 0x14c0))
    (local.set $fd (i32.const 3))
    (block $last
      (loop $next
        (br_if $last (call $fd_prestat_get (local.get $fd) (i32.const 0)))
        (call $say (i32.const 0x1710))
        (drop (call $fd_prestat_dir_name (local.get $fd) (global.get $end) (i32.load (i32.const 4))))
        (global.set $end (i32.add (global.get $end) (i32.load (i32.const 4))))
        (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
        (br $next)))
    (if (i32.eq (local.get $fd) (i32.const 3)) (then (call $say (i32.const 0x16c0))))
    (call $say (i32.const 0x1700)))

  ;; Tries a path and says how that went; $opened is what to say if it opens.
  (func $try (param $title i32) (param $path i32) (param $opened i32)
    (local $error i32)
    (call $say (local.get $title))
    (call $say (local.get $path))
    (local.set $error (call $open (local.get $path)))
    (if (i32.eqz (local.get $error))
      (then (call $say (local.get $opened)) (return)))
    (if (i32.eq (local.get $error) (i32.const 44)) ;; noent
      (then (call $say (i32.const 0x15c0)) (return)))
    (if (i32.or (i32.or
          (i32.eq (local.get $error) (i32.const 2)) ;; acces
          (i32.eq (local.get $error) (i32.const 63))) ;; perm
          (i32.eq (local.get $error) (i32.const 76))) ;; notcapable
      (then (call $say (i32.const 0x1600)) (return)))
    (call $say (i32.const 0x1640))
    (call $number (local.get $error))
    (call $say (i32.const 0x1700)))

  (func (export "_start")
    (call $greet)
    (call $say (i32.const 0x1000))
    (call $say (i32.const 0x1080))
    (call $say (i32.const 0x1100))
    (call $number (i32.mul (memory.size) (i32.const 64)))
    (call $say (i32.const 0x1140))
    (call $say (i32.const 0x1280))
    (call $say (i32.const 0x1200))
    (call $say (i32.const 0x1300))
    (call $say (i32.const 0x1380))
    (drop (call $args_sizes_get (i32.const 0x10) (i32.const 0x14)))
    (drop (call $environ_sizes_get (i32.const 0x18) (i32.const 0x1c)))
    (call $say (i32.const 0x1400))
    (call $number (i32.load (i32.const 0x10)))
    (call $say (i32.const 0x1440))
    (call $number (i32.load (i32.const 0x18)))
    (call $say (i32.const 0x1480))
    (call $directories)
    (call $try (i32.const 0x1500) (i32.const 0x1800) (i32.const 0x1580))
    (call $try (i32.const 0x1540) (i32.const 0x1840) (i32.const 0x1680))
    (call $try (i32.const 0x1540) (i32.const 0x1880) (i32.const 0x1680))
    (call $try (i32.const 0x1540) (i32.const 0x18c0) (i32.const 0x1680))
    (call $say (i32.const 0x1740))
    (i32.store (i32.const 0) (global.get $out))
    (i32.store (i32.const 4) (i32.sub (global.get $end) (global.get $out)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
