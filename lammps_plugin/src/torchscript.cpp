// SPDX-License-Identifier: GPL-2.0-or-later
//
// Models as TorchScript archives. The one file that includes torch's headers: they take long to compile.

#include "torchscript.h"

#include "fingerprint.h"
#include "house_model.h"
#include "metadata.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/cuda.h>
#include <torch/headeronly/version.h>
#include <torch/script.h>

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <sstream>

namespace hesspot {
namespace {

/// The line of a torch message that names the cause: the last one of TorchScript's traceback, else the first.
std::string cause(const std::string &message)
{
  std::istringstream lines(message);
  std::string line, first, last;
  while (std::getline(lines, line)) {
    if (line.find_first_not_of(" \t") == std::string::npos) continue;
    if (first.empty()) first = line;
    last = line;
  }
  return first.find("TorchScript interpreter") == std::string::npos ? first : last;
}

template <typename Function> auto with_cause(const std::string &before, Function function)
{
  try {
    return function();
  } catch (const ModelError &) {
    throw;
  } catch (const c10::Error &error) {
    throw ModelError(before + cause(error.what_without_backtrace()));
  } catch (const std::exception &error) {
    throw ModelError(before + cause(error.what()));
  }
}

/// Torch on so many threads while this lives, and on as many as before after it: the number is the whole process's.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { set(count); }
  ~Threads() { set(before_); }
  Threads(const Threads &) = delete;
  Threads &operator=(const Threads &) = delete;

 private:
  int before_;

  static void set(int count)
  {
    if (at::get_num_threads() != count) at::set_num_threads(count);
  }
};

class TorchScriptModel : public Model {
 public:
  TorchScriptModel(Metadata metadata, torch::jit::Module module, const std::string &name, const Options &options) :
      Model(std::move(metadata.elements), metadata.cutoff, count_members(module, name, options)),
      module_(std::move(module)), name_(name), threads_(options.threads), device_(options.device),
      dtype_(options.precision == Precision::Single ? torch::kFloat32 : torch::kFloat64)
  {
    module_.eval();
    for (auto tensor : module_.parameters()) cast(tensor);
    for (auto tensor : module_.buffers()) cast(tensor);
    for (std::size_t i = 0; i < this->elements().size(); i++) stand_ins_.push_back(static_cast<std::int64_t>(i));
  }

  void evaluate(const Edges &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    guarded([&] {
      const auto vectors = vectors_of(edges);
      const auto energy = energies_of("forward", edges, vectors);
      copy(energy.detach(), energies);
      copy(gradient_of(energy.sum(), vectors, false), gradient);
    });
  }

  void hvp(const Edges &edges, const std::vector<double> &directions, std::vector<double> &products) override
  {
    guarded([&] {
      const auto vectors = vectors_of(edges);
      const auto gradient = gradient_of(energies_of("forward", edges, vectors).sum(), vectors, true);
      copy(gradient_of((gradient * rows_of_three(directions)).sum(), vectors, false), products);
    });
  }

  void members(const Edges &edges, std::vector<double> &energies, std::vector<double> &gradient) override
  {
    guarded([&] {
      const auto vectors = vectors_of(edges);
      const auto energy = energies_of("members", edges, vectors);
      copy(energy.detach(), energies);
      std::vector<torch::Tensor> gradients;
      for (const auto &member : energy.unbind(0)) gradients.push_back(gradient_of(member.sum(), vectors, false, true));
      copy(torch::stack(gradients), gradient);
    });
  }

 private:
  torch::jit::Module module_;
  std::string name_;
  int threads_;
  torch::Device device_;
  torch::Dtype dtype_;
  std::vector<std::int64_t> stand_ins_;

  /// A committee has a method `members`; asked about no atom, it tells how many it has.
  static int count_members(torch::jit::Module &module, const std::string &name, const Options &options)
  {
    const auto method = module.find_method("members");
    if (!method) return 1;
    return with_cause("model " + name + " failed: ", [&] {
      const torch::Device device(options.device);
      const auto none = torch::zeros({0}, torch::TensorOptions(torch::kInt64).device(device));
      const auto vectors = torch::zeros({0, 3}, torch::TensorOptions(torch::kFloat64).device(device));
      const auto energies = (*method)({none, none, none, vectors}).toTensor();
      if (energies.dim() != 2)
        throw ModelError("method members of model " + name + " does not return one row per member; correct it");
      return static_cast<int>(energies.size(0));
    });
  }

  void cast(torch::Tensor &tensor) const
  {
    tensor.requires_grad_(false);
    if (tensor.is_floating_point()) tensor.set_data(tensor.data().to(dtype_));
  }

  /// Runs an evaluation without the profiling executor, which stalls, and has failed in double backward, when the
  /// shapes of its input change from call to call (pytorch issues 49764, 54133).
  template <typename Function> void guarded(Function function)
  {
    const Threads threads(threads_);
    const torch::jit::GraphOptimizerEnabledGuard no_profiling(false);
    const torch::AutoGradMode with_gradients(true);
    with_cause("model " + name_ + " failed: ", function);
  }

  torch::Tensor integers(std::vector<std::int64_t> values) const
  {
    return torch::tensor(values, torch::kInt64).to(device_);
  }

  torch::Tensor rows_of_three(const std::vector<double> &values) const
  {
    const auto rows = static_cast<std::int64_t>(values.size() / 3);
    const auto view = torch::from_blob(const_cast<double *>(values.data()), {rows, 3}, torch::kFloat64);
    return view.to(torch::TensorOptions(dtype_).device(device_), false, true);
  }

  torch::Tensor vectors_of(const Edges &edges) const { return rows_of_three(edges.vectors).requires_grad_(true); }

  /// Energies of the centres by one of the module's methods; the last dimension is that of the centres. Behind the
  /// centres the model is given one atom per element, without edges, which stands for all neighbours of that element.
  torch::Tensor energies_of(const std::string &method, const Edges &edges, const torch::Tensor &vectors)
  {
    const auto n_centers = static_cast<std::int64_t>(edges.n_centers());
    auto species = edges.species;
    species.insert(species.end(), stand_ins_.begin(), stand_ins_.end());
    auto neighbors = edges.neighbor_species;
    for (auto &neighbor : neighbors) neighbor += n_centers;
    const auto n_atoms = static_cast<std::int64_t>(species.size());
    const auto energies = module_
                              .get_method(method)({integers(std::move(species)), integers(edges.centers),
                                                   integers(std::move(neighbors)), vectors})
                              .toTensor();
    if (energies.dim() != (method == "members" ? 2 : 1) || energies.size(-1) != n_atoms)
      throw ModelError("model " + name_ +
                       " does not return one energy per atom; export it again with `hesspot export`");
    return energies.narrow(-1, 0, n_centers).to(torch::kFloat64);
  }

  static torch::Tensor gradient_of(const torch::Tensor &value, const torch::Tensor &vectors, bool create_graph,
                                   bool again = false)
  {
    if (vectors.size(0) == 0) return torch::zeros_like(vectors);
    return torch::autograd::grad({value}, {vectors}, {}, create_graph || again, create_graph)[0];
  }

  static void copy(const torch::Tensor &tensor, std::vector<double> &values)
  {
    const auto plain = tensor.to(torch::TensorOptions(torch::kFloat64).device(torch::kCPU)).contiguous();
    values.assign(plain.data_ptr<double>(), plain.data_ptr<double>() + plain.numel());
  }
};

std::vector<double> numbers(const torch::Tensor &tensor)
{
  const auto plain = tensor.detach().to(torch::kFloat64).contiguous();
  return {plain.data_ptr<double>(), plain.data_ptr<double>() + plain.numel()};
}

Layer layer(const torch::jit::Module &module)
{
  return {numbers(module.attr("weight").toTensor()), numbers(module.attr("bias").toTensor())};
}

/// The weights of a scripted `HouseModel` or `HouseEnsemble`.
Description description(const torch::jit::Module &module)
{
  Description weights;
  weights.scale = module.attr("scale").toTensor().item<double>();
  weights.mix = numbers(module.attr("mix").toTensor());
  weights.shifts = module.attr("shifts").toDoubleVector();
  weights.mean = numbers(module.attr("mean").toTensor());
  weights.inverse_deviation = numbers(module.attr("inverse_deviation").toTensor());
  for (const auto &child : module.attr("networks").toModule().children()) {
    Network network;
    for (const auto &step : child.attr("layers").toModule().children())
      if (step.hasattr("weight")) network.hidden.push_back(layer(step));
    network.readout = layer(child.attr("readout").toModule());
    network.linear = numbers(child.attr("linear").toModule().attr("weight").toTensor());
    weights.networks.push_back(std::move(network));
  }
  return weights;
}

/// The house models in a scripted module: itself, or those of a `HouseMean`.
std::vector<torch::jit::Module> houses(const torch::jit::Module &module)
{
  if (!module.hasattr("houses")) return {module};
  std::vector<torch::jit::Module> found;
  for (const auto &child : module.attr("houses").toModule().children()) found.push_back(child);
  return found;
}

HouseWeights house_weights(const torch::jit::Module &module)
{
  HouseWeights weights;
  const auto models = houses(module);
  const auto mix = models.at(0).attr("mix").toTensor();
  weights.n_elements = static_cast<int>(mix.size(1));
  weights.n_radial = static_cast<int>(models[0].attr("n_radial").toInt());
  weights.n_channels = static_cast<int>(mix.size(3));
  weights.cutoff = module.attr("cutoff").toDouble();
  for (const auto &model : models) weights.descriptions.push_back(description(model));
  return weights;
}

/// Whether the radial functions in the file are those of the kernel. Files from before the first release have their
/// frequencies rounded to single precision.
bool kernel_knows(const torch::jit::Module &module)
{
  const double lowest = std::acos(-1.0) / module.attr("cutoff").toDouble();
  for (const auto &model : houses(module)) {
    const auto frequencies = numbers(model.attr("frequencies").toTensor());
    for (std::size_t k = 0; k < frequencies.size(); k++) {
      const double expected = lowest * static_cast<double>(k + 1);
      if (std::fabs(frequencies[k] - expected) > 1e-14 * expected) return false;
    }
  }
  return true;
}

}  // namespace

std::unique_ptr<Model> load_archive(const std::string &content, const std::string &name, const Options &options)
{
  // the last part of an archive is its directory, which a truncated file lacks
  if (content.rfind("PK\x05\x06") == std::string::npos)
    throw ModelError("model file " + name +
                     " is no TorchScript archive or is truncated; export it again with `hesspot export`");
  torch::jit::ExtraFilesMap extra{{METADATA_NAME, ""}};
  auto module = with_cause("model file " + name + " cannot be read by torch " TORCH_VERSION ": ", [&] {
    std::istringstream stream(content);
    return torch::jit::load(stream, torch::Device(options.device), extra);
  });
  std::vector<FingerprintEntry> fingerprint;
  auto metadata = parse_metadata(extra[METADATA_NAME], name);
  if (options.verify) fingerprint = parse_fingerprint(extra[METADATA_NAME], name);
  const bool is_house = metadata.architecture == "house" || metadata.architecture == "house-ensemble" ||
                        metadata.architecture == "house-mean";
  const bool has_kernel = is_house && options.device == "cpu" && kernel_knows(module);
  if (options.backend == Backend::Kernel && !has_kernel)
    throw ModelError("model " + name + " of architecture " + metadata.architecture + " has no kernel for device " +
                     options.device + ", or is of an older hesspot; use the torchscript backend");
  std::unique_ptr<Model> model;
  if (options.backend == Backend::TorchScript || !has_kernel)
    model = std::make_unique<TorchScriptModel>(std::move(metadata), std::move(module), name, options);
  else
    model = with_cause("the weights of model " + name + " cannot be read: ",
                       [&] { return make_house(std::move(metadata.elements), house_weights(module), options, name); });
  if (options.verify) replay_fingerprint(*model, fingerprint, options.precision, name);
  return model;
}

int n_cuda_devices()
{
  return static_cast<int>(torch::cuda::device_count());
}

}  // namespace hesspot
