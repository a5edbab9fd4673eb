# server_rails.ru - server.ru as a Rails application: routing, parameters and rendering by Rails.
require 'logger'
require 'action_controller/railtie'

KEPT = Thread::Queue.new

class Server < Rails::Application
  config.eager_load = true
  config.logger = Logger.new(nil)
  config.secret_key_base = 'of no use here'
  routes.append do
    post '/', to: 'records#keep'
    get '/:bytes', to: 'records#bytes'
  end
end

class RecordsController < ActionController::API
  def keep
    records = JSON.parse(request.raw_post)
    KEPT << records
    KEPT.pop if KEPT.size > 100
    render json: records.map { |record| record['text'] }
  end

  def bytes
    render plain: 'x' * params[:bytes].to_i
  end
end

Server.initialize!
run Server
