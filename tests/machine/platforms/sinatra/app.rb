require "sinatra/base"
require "zlib"

class Shop < Sinatra::Base
  RELEASE = File.read(File.join(__dir__, "RELEASE")).strip
  raise "the catalog cannot be read" if RELEASE == "broken"

  echo = proc do
    body = request.body.read
    sleep request.get_header("HTTP_X_WAIT").to_f
    content_type "text/plain"
    "id=#{request.get_header("HTTP_X_ID") || "-"} len=#{body.bytesize} crc=#{Zlib.crc32(body)} gen=#{RELEASE}\n"
  end

  get("/health") { "well\n" }
  get("/*", &echo)
  post("/*", &echo)
end
