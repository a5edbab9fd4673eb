# server.ru - JSON of any size in, the last 100 documents kept; bytes of the size asked for out.
require 'json'

KEPT = Thread::Queue.new

run lambda { |request|
  if request['REQUEST_METHOD'] == 'POST'
    records = JSON.parse(request['rack.input'].read)
    KEPT << records
    KEPT.pop if KEPT.size > 100
    answer = JSON.generate(records.map { |record| record['text'] })
  else
    answer = 'x' * request['PATH_INFO'].delete_prefix('/').to_i
  end
  [200, { 'Content-Length' => answer.bytesize.to_s }, [answer]]
}
