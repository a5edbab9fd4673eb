# A program whose Ruby methods hold known amounts: test_ruby.py.
MIB = 1 << 20
HELD = []

def plain
  HELD << "p" * (9 * MIB)
end

class Cache
  def fill
    800.times { HELD << "f" * 10000 }
  end
end

def by_callback
  HELD.concat([1, 2, 3, 4, 5, 6].sort_by { |n| HELD << "s" * MIB; n })
end

def fibered
  Fiber.new { HELD << "i" * (5 * MIB) }.resume
end

def in_thread
  Thread.new { HELD << "t" * (4 * MIB) }.join
end

def grüße
  HELD << "g" * (3 * MIB)
end

def deep(n)
  return HELD << "d" * (2 * MIB) if n == 0

  [n].each { deep(n - 1) }
end

def main
  plain
  Cache.new.fill
  by_callback
  fibered
  in_thread
  grüße
  deep(60)
  system(ENV["TIDEPOOL"], "dump", Process.pid.to_s, out: File::NULL, exception: true)
end

main
